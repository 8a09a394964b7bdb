//! Writes commits until the blow falls, and tells afterwards which of those that were acknowledged are gone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::ops::Result;
use crate::postgres::{Client, ConnectionSettings, PostgresError};

/// The table that it writes to, also for steps that look whether data is there.
pub(super) const TABLE: &str = "erpgo_dr_drill";

/// The time between two commits.
const EVERY: Duration = Duration::from_millis(20);
/// How often a server that has just taken over is asked.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// Who writes.
#[derive(Debug)]
pub(super) struct Witness {
    acknowledged: Arc<Mutex<Vec<DateTime<Utc>>>>,
    writing: JoinHandle<()>,
}

/// What was acknowledged before the blow, in order: the commit with the number 1 first.
#[derive(Debug)]
pub(super) struct Testimony(Vec<DateTime<Utc>>);

/// What is there afterwards.
#[derive(Debug)]
pub(super) struct Remains {
    /// Seconds of acknowledged work that are not.
    pub(super) lost_seconds: f64,
    /// Rows that are missing among those that are.
    pub(super) altered: usize,
}

impl Witness {
    /// Makes the table, and begins to write.
    pub(super) async fn begin(settings: &ConnectionSettings, clock: Arc<dyn Clock>) -> Result<Self> {
        let client = settings.connect().await?;
        let sql = format!("CREATE TABLE IF NOT EXISTS {TABLE} (number bigint PRIMARY KEY); TRUNCATE {TABLE}");
        client.batch_execute(&sql).await.map_err(client.query_error("make the table of the drill"))?;
        let acknowledged: Arc<Mutex<Vec<DateTime<Utc>>>> = Arc::default();
        let writing = tokio::spawn(write(client, clock, Arc::clone(&acknowledged)));
        Ok(Self { acknowledged, writing })
    }

    /// Waits until it has written so many commits more.
    ///
    /// # Errors
    /// [`PostgresError::Throwaway`] where it cannot.
    pub(super) async fn writes(&self, more: usize) -> Result<()> {
        let wanted = self.count() + more;
        while self.count() < wanted {
            if self.writing.is_finished() {
                return Err(PostgresError::Throwaway("the server of the drill takes no writes".to_owned()).into());
            }
            tokio::time::sleep(EVERY).await;
        }
        Ok(())
    }

    /// Ends it, and returns what it saw.
    pub(super) fn heard(self) -> Testimony {
        self.writing.abort();
        Testimony(self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.writing.abort();
    }
}

async fn write(client: Client, clock: Arc<dyn Clock>, acknowledged: Arc<Mutex<Vec<DateTime<Utc>>>>) {
    let sql = format!("INSERT INTO {TABLE} VALUES ($1)");
    for number in 1_i64.. {
        if client.execute(&sql, &[&number]).await.is_err() {
            return;
        }
        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(clock.now());
        tokio::time::sleep(EVERY).await;
    }
}

impl Testimony {
    /// Asks the server that takes writes now what is there.
    ///
    /// # Errors
    /// [`PostgresError`] where it cannot be asked.
    pub(super) async fn ask(&self, settings: &ConnectionSettings) -> Result<Remains> {
        let mut tries = 0;
        let (newest, rows) = loop {
            tries += 1;
            match newest(settings).await {
                Ok(found) => break found,
                Err(error) if tries >= TRIES => return Err(error.into()),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        };
        Ok(Remains { lost_seconds: self.lost_behind(newest), altered: newest.saturating_sub(rows) })
    }

    /// Returns the time from the newest commit that is there to the last that was acknowledged.
    fn lost_behind(&self, newest: usize) -> f64 {
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else { return 0.0 };
        let there = match newest {
            newest if newest >= self.0.len() => return 0.0,
            0 => first,
            newest => &self.0[newest - 1],
        };
        (*last - *there).as_seconds_f64().max(0.001)
    }
}

/// Returns the number of the newest commit that is there, and how many rows.
async fn newest(settings: &ConnectionSettings) -> std::result::Result<(usize, usize), PostgresError> {
    let client = settings.connect().await?;
    let sql = format!("SELECT coalesce(max(number), 0), count(*) FROM {TABLE}");
    let found = client.query_one(&sql, &[]).await.map_err(client.query_error("look what is there"));
    client.close().await;
    let count = |number: i64| usize::try_from(number).unwrap_or(0);
    found.map(|row| (count(row.get(0)), count(row.get(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_and_is_gone_is_counted_as_time() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let heard = Testimony(vec![at(10), at(11), at(15)]);
        assert_eq!(heard.lost_behind(3), 0.0);
        assert_eq!(heard.lost_behind(4), 0.0, "one that was not acknowledged may be there");
        assert_eq!(heard.lost_behind(2), 4.0);
        assert_eq!(heard.lost_behind(0), 5.0);
        assert_eq!(Testimony(Vec::new()).lost_behind(0), 0.0);
    }
}
