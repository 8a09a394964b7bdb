//! `bench`: how fast this machine encrypts and compresses, laid out as `openssl speed` does.

mod data;
mod measure;
mod rows;

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use self::rows::Row;
use crate::context::Context;
use crate::error::{self, CliError};
use crate::output::{Align, Report, Table};

/// Print the encryption and compression throughput of this machine
///
/// Rows are what is done, columns are how many bytes at a time, figures are 1000 bytes of plaintext a second, as
/// `openssl speed` prints them. The data is made for it, and resembles table rows in a dump.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// How long each figure is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5, value_parser = parse_seconds)]
    seconds: f64,
    /// How many bytes at a time
    #[arg(long, value_name = "SIZE", value_delimiter = ',', default_value = "16k,64k,256k,1m", value_parser = parse_size)]
    bytes: Vec<usize>,
    /// Numbers of threads [default: 1 and one a core; or what the global --threads says]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    thread_counts: Vec<usize>,
    /// What is measured [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    algorithm: Vec<Algorithm>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Algorithm {
    /// AES-256-CBC, then HMAC-SHA-256
    #[value(name = "aes-256-cbc-hmac-sha256")]
    Cipher,
    /// Zstandard at levels 1, 3 and 9
    Zstd,
    /// Gzip at levels 1 and 6
    Gzip,
    /// Whole containers, compressed and encrypted
    Container,
}

/// Figures of one row.
#[derive(Debug, Serialize)]
struct Measured {
    name: String,
    threads: usize,
    figures: Vec<Figure>,
}

#[derive(Debug, Serialize)]
struct Figure {
    bytes: usize,
    bytes_per_second: f64,
}

#[derive(Serialize)]
struct Bench {
    seconds: f64,
    mac_kernel: &'static str,
    rows: Vec<Measured>,
}

impl BenchArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let threads = self.threads(context);
        let rows = Row::all(&self.algorithm);
        let mut measured = Vec::new();
        for count in threads {
            for row in &rows {
                context.output.note(&format!("measuring {row} on {count} threads"));
                measured.push(self.measure(*row, count).await?);
            }
        }
        let mac_kernel = erpgo_dr_core::crypto::Aes256CbcHmac::new().mac_backend();
        let text = self.render(&measured, mac_kernel);
        Report::new(&Bench { seconds: self.seconds, mac_kernel, rows: measured }, text, true)
    }

    fn threads(&self, context: &Context) -> Vec<usize> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let asked = match (self.thread_counts.as_slice(), context.global.threads) {
            ([], Some(0)) => vec![cores],
            ([], Some(count)) => vec![count],
            ([], None) => vec![1, cores],
            (counts, _) => counts.to_vec(),
        };
        let mut counts: Vec<usize> = Vec::new();
        for count in asked {
            if count > 0 && !counts.contains(&count) {
                counts.push(count);
            }
        }
        counts
    }

    async fn measure(&self, row: Row, threads: usize) -> Result<Measured, CliError> {
        let span = Duration::from_secs_f64(self.seconds);
        let mut figures = Vec::new();
        for &bytes in &self.bytes {
            let bytes_per_second = match row {
                Row::Write(_) | Row::Read(_) => measure::container(row, bytes, threads, span).await?,
                // Of the runtime's threads none must stand still that long.
                _ => tokio::task::spawn_blocking(move || measure::on_threads(row, bytes, threads, span))
                    .await
                    .map_err(|failure| error::io("measure", std::io::Error::other(failure)))??,
            };
            figures.push(Figure { bytes, bytes_per_second });
        }
        Ok(Measured { name: row.to_string(), threads, figures })
    }

    fn render(&self, measured: &[Measured], kernel: &str) -> String {
        let mut text = format!("MAC kernel {kernel}; each figure measured for {} s\n", self.seconds);
        text.push_str("The 'numbers' are in 1000s of bytes per second processed.\n");
        let mut table = Table::new([("type", Align::Left), ("threads", Align::Right)].into_iter().chain(
            // Headings are text of the program's own; the sizes are the first row.
            self.bytes.iter().map(|_| ("", Align::Right)),
        ));
        table.row(
            ["".to_owned(), "".to_owned()].into_iter().chain(self.bytes.iter().map(|bytes| format!("{bytes} bytes"))),
        );
        for row in measured {
            let figures = row.figures.iter().map(|figure| format!("{:.2}k", figure.bytes_per_second / 1000.0));
            table.row([row.name.clone(), row.threads.to_string()].into_iter().chain(figures));
        }
        text.push_str(&table.render());
        text
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds, from 0.001 to 3600".to_owned()),
    }
}

/// Reads `16384`, `16k`, `1m`. What a figure is measured on must fit into memory many times.
fn parse_size(text: &str) -> Result<usize, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, unit) = match lower.strip_suffix(['k', 'm']) {
        Some(digits) if lower.ends_with('k') => (digits, 1 << 10),
        Some(digits) => (digits, 1 << 20),
        None => (lower.as_str(), 1),
    };
    let size = digits.parse::<usize>().ok().and_then(|count| count.checked_mul(unit));
    match size {
        Some(size @ 16..=67_108_864) => Ok(size),
        _ => Err("expected a size from 16 bytes to 64m, such as 16384, 16k or 1m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_bounds() {
        assert_eq!(parse_size("16384"), Ok(16384));
        assert_eq!(parse_size("16K"), Ok(16384));
        assert_eq!(parse_size("2m"), Ok(2 << 20));
        for wrong in ["", "k", "8", "65m", "1g", "-1"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
