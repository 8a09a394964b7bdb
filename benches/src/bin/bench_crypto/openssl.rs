//! Runs `openssl speed` and reads what it prints for machines.

use std::io;
use std::process::{Command, Output};

/// Returns the version that the `openssl` on the path states.
pub(crate) fn version() -> io::Result<String> {
    let output = run(&["version"])?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Measures OpenSSL's stitched cipher on 16 KiB for `seconds`; returns bytes per second of CPU time.
pub(crate) fn stitched(seconds: u64) -> io::Result<f64> {
    let seconds = seconds.to_string();
    let output = run(&["speed", "-mr", "-evp", "aes-256-cbc-hmac-sha256", "-bytes", "16384", "-seconds", &seconds])?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).ok_or_else(|| io::Error::other(format!("openssl speed printed no figure: {text:?}")))
}

/// Reads the line `+F:<index>:<cipher>:<bytes per second>`.
fn parse(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("+F:"))?;
    line.rsplit(':').next()?.trim().parse().ok().filter(|&figure: &f64| figure > 0.0)
}

fn run(arguments: &[&str]) -> io::Result<Output> {
    let output = Command::new("openssl").args(arguments).output()?;
    if output.status.success() {
        return Ok(output);
    }
    Err(io::Error::other(format!("openssl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr))))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_figure_is_the_last_field_of_its_line() {
        let text = "+DT:AES-256-CBC-HMAC-SHA256:1:16384\n+H:16384\n+F:25:AES-256-CBC-HMAC-SHA256:1213884176.62\n";
        assert_eq!(super::parse(text), Some(1_213_884_176.62));
        assert_eq!(super::parse("+H:16384\n"), None);
    }
}
