//! A TCP proxy in front of a server that cuts, delays, refuses or swallows on command.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

const CHUNK: usize = 16 * 1024;
const POLL: Duration = Duration::from_millis(20);

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What the proxy does to its connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Fault {
    /// Passes everything on.
    #[default]
    None,
    /// Resets every new connection and those that are open.
    Refuse,
    /// Resets all connections after so many more bytes in one direction, over all connections; then does `then`.
    CutAfter {
        /// The direction in which bytes are counted.
        direction: Direction,
        /// How many bytes still pass.
        bytes: u64,
        /// What follows the cut.
        then: Box<Fault>,
    },
    /// Waits before it passes on each chunk of at most 16 KiB, both ways.
    Delay(Duration),
    /// Accepts connections and bytes, and lets nothing through: a peer that fell silent.
    Blackhole,
}

/// A running proxy. New faults count at once, for open connections too.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    fault: Mutex<Fault>,
    /// Rises with each cut: a connection that was opened under an older number is dead.
    generation: AtomicU64,
    stopped: AtomicBool,
    up: AtomicU64,
    down: AtomicU64,
    connections: AtomicU64,
    cuts: AtomicU64,
}

impl FaultProxy {
    /// Starts a proxy on a free loopback port in front of the server at port `upstream`.
    pub fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("no free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            upstream: SocketAddr::from((Ipv4Addr::LOCALHOST, upstream)),
            fault: Mutex::default(),
            generation: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Self { address, shared }
    }

    /// Returns the port on which clients connect.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Does `fault` from now on.
    pub fn set(&self, fault: Fault) {
        if fault == Fault::Refuse {
            self.shared.generation.fetch_add(1, Ordering::SeqCst);
        }
        *self.shared.fault() = fault;
    }

    /// Passes everything on again.
    pub fn heal(&self) {
        self.set(Fault::None);
    }

    /// Resets every open connection, once.
    pub fn cut_now(&self) {
        self.shared.cut();
    }

    /// Returns how many bytes went through in a direction.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.shared.counter(direction).load(Ordering::SeqCst)
    }

    /// Returns how many connections were accepted.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Returns how many times connections were cut. A test asserts with it that its fault did happen.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
        // Wakes the thread that accepts, so that it ends and frees the port.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().flatten() {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            self.connections.fetch_add(1, Ordering::SeqCst);
            let shared = Arc::clone(&self);
            thread::spawn(move || shared.serve(client));
        }
    }

    fn serve(self: Arc<Self>, client: TcpStream) {
        let born = self.generation.load(Ordering::SeqCst);
        if *self.fault() == Fault::Refuse {
            return reset(&client);
        }
        let Ok(server) = TcpStream::connect(self.upstream) else { return reset(&client) };
        let (Ok(client_twin), Ok(server_twin)) = (client.try_clone(), server.try_clone()) else { return };
        let shared = Arc::clone(&self);
        let upward = thread::spawn(move || shared.pump(Direction::Up, born, client_twin, server_twin));
        self.pump(Direction::Down, born, server, client);
        let _ = upward.join();
    }

    /// Passes bytes on until either side ends or the connection is cut.
    fn pump(&self, direction: Direction, born: u64, mut from: TcpStream, mut to: TcpStream) {
        let _ = from.set_read_timeout(Some(POLL));
        let _ = to.set_nodelay(true);
        let mut chunk = [0; CHUNK];
        loop {
            if self.generation.load(Ordering::SeqCst) != born {
                reset(&from);
                return reset(&to);
            }
            let length = match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => continue,
                Err(_) => return reset(&to),
            };
            let allowed = self.admit(direction, length);
            if to.write_all(&chunk[..allowed]).is_err() {
                return reset(&from);
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }

    /// Returns how many of `length` bytes may pass now, and counts them; cuts where the fault says so.
    ///
    /// Counted before they pass: whoever has seen what a byte or a cut brought about finds it counted.
    fn admit(&self, direction: Direction, length: usize) -> usize {
        let mut fault = self.fault();
        let mut cut = false;
        let allowed = match &mut *fault {
            Fault::None => length,
            Fault::Refuse | Fault::Blackhole => 0,
            Fault::Delay(time) => {
                let time = *time;
                drop(fault);
                thread::sleep(time);
                length
            }
            Fault::CutAfter { direction: counted, bytes, then } if *counted == direction => {
                if *bytes > length as u64 {
                    *bytes -= length as u64;
                    length
                } else {
                    let last = *bytes as usize;
                    *fault = std::mem::take(&mut **then);
                    cut = true;
                    last
                }
            }
            Fault::CutAfter { .. } => length,
        };
        self.counter(direction).fetch_add(allowed as u64, Ordering::SeqCst);
        if cut {
            self.cut();
        }
        allowed
    }

    fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    fn fault(&self) -> MutexGuard<'_, Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counter(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

/// Ends a connection with RST, as a host that crashed and came back does, and not with an orderly FIN.
fn reset(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Read);
}
