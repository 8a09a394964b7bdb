//! Free ports that two tests cannot both take.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::{env, fs, process};

use rustix::fs::{FlockOperation, flock};

// Below the range from which the kernel gives ports to clients, with room for the twin 10,000 above.
const FIRST: u16 = 11_000;
const COUNT: u16 = 11_000;
const TWIN: u16 = 10_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of ours, as long as the value lives. Other processes respect the lock behind it.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    _lock: File,
}

impl Port {
    /// Takes a free port whose twin 10,000 above is free too (SeaweedFS listens on both).
    pub(crate) fn take() -> Self {
        let folder = env::temp_dir().join("erpgo-dr-testkit-ports");
        fs::create_dir_all(&folder).expect("cannot make the folder of port locks");
        let start = (process::id() as u16).wrapping_mul(97) % COUNT;
        for _ in 0..COUNT {
            let number = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
            let file = File::options().create(true).append(true).open(folder.join(number.to_string()));
            let Ok(lock) = file else { continue };
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
                && is_free(number)
                && is_free(number + TWIN)
            {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT)
    }
}

fn is_free(number: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
}
