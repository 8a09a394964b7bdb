//! A way to a server that takes longer: what is sent arrives later, and as much of it at a time as before.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const CHUNK: usize = 64 << 10;
/// Chunks on their way in one direction: more than fit into the time at any speed that is measured here.
const ON_THE_WAY: usize = 1024;

/// Listens on loopback, and passes on to `upstream` what comes, `delay` later, both ways. Returns the port. It ends with the process.
///
/// # Errors
/// If no port can be had.
pub fn delayed(upstream: u16, delay: Duration) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that finds nobody behind sees its connection closed.
            let _ = pass_on(&client, SocketAddr::from((Ipv4Addr::LOCALHOST, upstream)), delay);
        }
    });
    Ok(port)
}

fn pass_on(client: &TcpStream, upstream: SocketAddr, delay: Duration) -> io::Result<()> {
    let server = TcpStream::connect(upstream)?;
    for stream in [client, &server] {
        stream.set_nodelay(true)?;
    }
    one_way(client.try_clone()?, server.try_clone()?, delay);
    one_way(server, client.try_clone()?, delay);
    Ok(())
}

fn one_way(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, receiver) = mpsc::sync_channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        while let Ok(length) = from.read(&mut chunk) {
            if length == 0 || sender.send((Instant::now() + delay, chunk[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_comes_back_after_twice_the_delay() {
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let upstream = echo.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = echo.accept().unwrap();
            let mut copy = stream.try_clone().unwrap();
            io::copy(&mut stream, &mut copy)
        });
        let delay = Duration::from_millis(30);
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, delayed(upstream, delay).unwrap())).unwrap();
        let begun = Instant::now();
        client.write_all(&[7; 100_000]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        assert_eq!(back, [7; 100_000]);
        assert!(begun.elapsed() >= 2 * delay, "{:?}", begun.elapsed());
    }
}
