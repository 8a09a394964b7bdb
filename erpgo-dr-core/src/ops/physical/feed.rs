//! Reads many files ahead on threads of their own, and hands their contents on as they come.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::postgres::PostgresError;
use crate::repository::Extent;

/// Chunks that may wait to be stored.
const QUEUE: usize = 32;

/// What became of a file, in the order in which it happened.
#[derive(Debug)]
pub(super) enum Event<R> {
    /// Its next bytes.
    Chunk(Bytes),
    /// Its next bytes, which an earlier backup has.
    Known(Vec<Extent>),
    /// It has been read to its end; what its reader found.
    End(R),
}

/// Events of files, by their number. Events of one file come in order; files come in about the order of their numbers.
#[derive(Debug)]
pub(super) struct Feed<R> {
    events: mpsc::Receiver<Result<(usize, Event<R>), PostgresError>>,
}

impl<R: Send + 'static> Feed<R> {
    /// Reads the numbered files of `jobs` on `threads` threads; `read` is given a number, what to do, and where events go.
    ///
    /// Threads end when they have failed, when all has been read, or when the feed is dropped.
    pub(super) fn start<J: Send + 'static>(
        jobs: mpsc::Receiver<(usize, J)>,
        threads: usize,
        read: impl Fn(usize, J, &mut dyn FnMut(Event<R>) -> bool) -> Result<R, PostgresError> + Send + Sync + 'static,
    ) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        let (jobs, read) = (Arc::new(Mutex::new(jobs)), Arc::new(read));
        for _ in 0..threads.max(1) {
            let (sender, jobs, read) = (sender.clone(), Arc::clone(&jobs), Arc::clone(&read));
            tokio::task::spawn_blocking(move || {
                let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                while let Some((number, job)) = next() {
                    let mut forward = |event| sender.blocking_send(Ok((number, event))).is_ok();
                    let outcome = read(number, job, &mut forward);
                    let failed = outcome.is_err();
                    let sent = sender.blocking_send(outcome.map(|report| (number, Event::End(report))));
                    if failed || sent.is_err() {
                        return;
                    }
                }
            });
        }
        Self { events }
    }

    /// Returns the next event; `None` when all files have ended.
    pub(super) async fn next(&mut self) -> Result<Option<(usize, Event<R>)>, PostgresError> {
        self.events.recv().await.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(count: usize) -> mpsc::Receiver<(usize, usize)> {
        let (sender, jobs) = mpsc::channel(count);
        (0..count).for_each(|number| sender.try_send((number, number % 4)).unwrap());
        jobs
    }

    #[tokio::test]
    async fn every_file_comes_whole_and_a_failure_is_told() {
        let mut feed = Feed::start(jobs(100), 3, |number, parts, forward| {
            for part in 0..parts {
                assert!(forward(Event::Chunk(Bytes::from(vec![number as u8; part + 1]))));
            }
            Ok(number)
        });
        let mut bytes = vec![0; 100];
        let mut ended = Vec::new();
        while let Some((number, event)) = feed.next().await.unwrap() {
            match event {
                Event::Chunk(chunk) => {
                    assert!(chunk.iter().all(|byte| usize::from(*byte) == number) && !ended.contains(&number));
                    bytes[number] += chunk.len();
                }
                Event::Known(extents) => panic!("nobody sent {extents:?}"),
                Event::End(report) => {
                    assert_eq!(report, number);
                    ended.push(number);
                }
            }
        }
        ended.sort_unstable();
        assert_eq!(ended, (0..100).collect::<Vec<_>>());
        assert_eq!(bytes[..4], [0, 1, 3, 6]);

        let mut feed = Feed::start(jobs(10), 2, |number, _, _| match number {
            5 => Err(PostgresError::InvalidOptions("five".to_owned())),
            _ => Ok(()),
        });
        let failed = loop {
            match feed.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the failure was lost"),
                Err(error) => break error,
            }
        };
        assert_eq!(failed.to_string(), "five");
    }
}
