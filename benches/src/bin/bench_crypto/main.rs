//! Seals and opens segments beside `openssl speed`, in one run, and prints the ratios.
//!
//! `bench_crypto [ROUNDS]`. A round is OpenSSL, sealing, OpenSSL, opening, OpenSSL; each ratio is ours to the
//! mean of the two OpenSSL figures around it, and what is printed is the median over the rounds. One-core
//! figures are per second of CPU time on both sides, so that a busy machine shifts both alike or neither.

mod cores;
mod openssl;

use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use erpgo_dr_benches::measure::{cpu_throughput, median};
use erpgo_dr_benches::peers;
use erpgo_dr_benches::segments::{SEGMENT, Workload};
use erpgo_dr_core::crypto::Aes256CbcHmac;

const SECONDS: u64 = 1;
const SEGMENTS: usize = 64;

/// Figures of all rounds, in bytes per second.
#[derive(Default)]
struct Figures {
    openssl: Vec<f64>,
    seal: Vec<f64>,
    open: Vec<f64>,
    seal_ratio: Vec<f64>,
    open_ratio: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(5), |text| text.parse())?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}, MAC kernel {}", openssl::version()?, Aes256CbcHmac::new().mac_backend())?;
    let figures = measure(rounds)?;
    print_beside(&mut out, &figures)?;
    print_shapes(&mut out)?;
    let scaling = cores::measure(Duration::from_secs(20));
    writeln!(out, "\ntwo cores, {} (GB/s)", scaling.clock)?;
    writeln!(out, "  one thread {:>6.2}   two threads {:>6.2}", scaling.one / 1e9, scaling.two / 1e9)?;
    writeln!(out)?;
    writeln!(out, "seal_vs_openssl_stitched {:.2}", median(figures.seal_ratio))?;
    writeln!(out, "open_vs_openssl_stitched {:.2}", median(figures.open_ratio))?;
    writeln!(out, "two_core_scaling {:.2}", scaling.two / scaling.one)?;
    Ok(())
}

fn measure(rounds: usize) -> Result<Figures, Box<dyn Error>> {
    let mut figures = Figures::default();
    let mut work = Workload::new(SEGMENTS, SEGMENT);
    let duration = Duration::from_secs(SECONDS);
    for _ in 0..rounds.max(1) {
        let before = openssl::stitched(SECONDS)?;
        let seal = cpu_throughput(duration, || work.seal());
        let between = openssl::stitched(SECONDS)?;
        let open = cpu_throughput(duration, || work.open());
        let after = openssl::stitched(SECONDS)?;
        figures.seal_ratio.push(2.0 * seal / (before + between));
        figures.open_ratio.push(2.0 * open / (between + after));
        figures.openssl.extend([before, between, after]);
        figures.seal.push(seal);
        figures.open.push(open);
    }
    Ok(figures)
}

fn print_beside(out: &mut impl Write, figures: &Figures) -> io::Result<()> {
    let short = Duration::from_millis(300);
    let mut buffer = vec![7; SEGMENT + 16];
    writeln!(out, "\none core, CPU time (GB/s)")?;
    let mut line = |name: &str, value: f64| writeln!(out, "  {name:<52}{:>6.2}", value / 1e9);
    line("openssl speed aes-256-cbc-hmac-sha256, 16 KiB", median(figures.openssl.clone()))?;
    line("erpgo-dr seal, 64 segments", median(figures.seal.clone()))?;
    line("erpgo-dr open, 64 segments", median(figures.open.clone()))?;
    line("cbc and hmac crates, one stream, seal", cpu_throughput(short, || peers::naive_seal(&mut buffer)))?;
    line("cbc and hmac crates, one stream, open", cpu_throughput(short, || peers::naive_open(&mut buffer)))?;
    line("AWS-LC EVP AES-256-CBC, then HMAC, seal", cpu_throughput(short, || peers::evp_seal(&mut buffer)))?;
    line("AWS-LC AES-256-GCM, for reference", cpu_throughput(short, || peers::gcm_seal(&mut buffer)))
}

fn print_shapes(out: &mut impl Write) -> io::Result<()> {
    let short = Duration::from_millis(200);
    writeln!(out, "\nby segment length and segments of a run, CPU time, seal / open (GB/s)")?;
    write!(out, "{:>10}", "")?;
    let counts = [1, 4, 16, 64, 512];
    counts.iter().try_for_each(|count| write!(out, "{count:>16}"))?;
    writeln!(out)?;
    for segment_len in [4 * 1024 - 16, SEGMENT, 16 * 1024, 64 * 1024 - 16, 64 * 1024] {
        write!(out, "{segment_len:>10}")?;
        for count in counts {
            let mut work = Workload::new(count, segment_len);
            let seal = cpu_throughput(short, || work.seal()) / 1e9;
            let open = cpu_throughput(short, || work.open()) / 1e9;
            write!(out, "{:>16}", format!("{seal:.2} / {open:.2}"))?;
        }
        writeln!(out)?;
    }
    Ok(())
}
