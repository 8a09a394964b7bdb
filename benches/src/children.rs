//! Child programs, and what the kernel says that they took.

use std::fs;
use std::io;
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// Ticks a second of the CPU times in `/proc`, on every Linux.
const TICKS: f64 = 100.0;
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Looks for each look at descendants, of which there may be many.
const TREE_EVERY: usize = 5;

/// What programs took from the first start to the last end.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Seconds by the wall clock.
    pub wall: f64,
    /// Seconds of CPU time, of the programs and their children. A server's is not among it.
    pub cpu: f64,
    /// The largest resident memory of the last program by itself, in bytes.
    ///
    /// It is `VmHWM`, which the kernel keeps, read every 10 ms. `ru_maxrss` would not do: what a child has
    /// before it becomes another program is counted there.
    pub peak_rss: u64,
    /// The largest resident memory of the last program and its descendants together, in bytes, looked at every 50 ms.
    pub peak_tree_rss: u64,
}

/// Runs programs, the output of each the input of the next, and waits for all.
///
/// # Errors
/// If one cannot be started or fails.
pub fn run(mut pipeline: Vec<Command>) -> io::Result<Usage> {
    let (started, cpu_before) = (Instant::now(), cpu_of_children()?);
    let last = pipeline.len().saturating_sub(1);
    let mut children: Vec<(String, Child)> = Vec::new();
    for (number, command) in pipeline.iter_mut().enumerate() {
        if let Some(output) = children.last_mut().and_then(|(_, child)| child.stdout.take()) {
            command.stdin(output);
        }
        if number < last {
            command.stdout(Stdio::piped());
        }
        let name = command.get_program().to_string_lossy().into_owned();
        children.push((name, command.spawn()?));
    }
    let watcher = children.last().map(|(_, child)| child.id()).map(|id| thread::spawn(move || watch(id)));
    // From the first: the last cannot end before its input does. A zombie has no memory to read, so the
    // watcher ends by itself.
    for (name, child) in &mut children {
        let status = child.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("{name}: {status}")));
        }
    }
    let wall = started.elapsed().as_secs_f64();
    let (peak_rss, peak_tree_rss) = watcher.and_then(|watcher| watcher.join().ok()).unwrap_or_default();
    Ok(Usage { wall, cpu: cpu_of_children()? - cpu_before, peak_rss, peak_tree_rss })
}

/// Reads the high-water mark of a process, and the most that it and its descendants had at a time, until it has ended.
fn watch(id: u32) -> (u64, u64) {
    let (mut peak, mut peak_tree) = (0, 0);
    for look in 0_usize.. {
        let Some(now) = memory(id, "VmHWM:") else { break };
        peak = peak.max(now);
        if look.is_multiple_of(TREE_EVERY) {
            peak_tree = peak_tree.max(tree(id));
        }
        sleep(LOOK_EVERY);
    }
    (peak, peak_tree)
}

fn tree(id: u32) -> u64 {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let descendants = children.split_whitespace().filter_map(|child| child.parse().ok()).map(tree).sum::<u64>();
    memory(id, "VmRSS:").unwrap_or(0) + descendants
}

/// Reads how much memory a process has by a field of `/proc/<pid>/status`, in bytes: `VmRSS:` now, `VmHWM:` at most so far.
pub fn memory(id: u32, field: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/{id}/status")).ok().as_deref().and_then(|status| bytes_of(status, field))
}

fn bytes_of(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Returns the CPU seconds of all children that were waited for.
fn cpu_of_children() -> io::Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    child_ticks(&text).map(|ticks| ticks / TICKS).ok_or_else(|| io::Error::other("/proc/self/stat has no CPU times"))
}

/// Adds the fields `cutime` and `cstime` (proc(5)), after the name, which may hold spaces.
fn child_ticks(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(13)?.parse::<f64>().ok()? + fields.get(14)?.parse::<f64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_hands_on_its_bytes_and_fails_where_one_fails() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.arg("-c").arg(script);
            command
        };
        let usage = run(vec![shell("echo one"), shell("sleep 0.1; read word && test $word = one")]).unwrap();
        assert!(usage.wall >= 0.1 && usage.peak_rss > 100_000, "{usage:?}");
        assert!(run(vec![shell("false"), shell("cat >/dev/null")]).is_err());
        assert!(run(vec![shell("echo two"), shell("read word && test $word = one")]).is_err());
    }

    #[test]
    fn the_cpu_time_of_a_child_counts() {
        let before = cpu_of_children().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"]);
        assert!(run(vec![command]).unwrap().cpu > 0.02);
        assert!(cpu_of_children().unwrap() > before);
    }

    #[test]
    fn the_high_water_mark_is_in_kibibytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n";
        assert_eq!((bytes_of(status, "VmHWM:"), bytes_of(status, "VmRSS:")), (Some(2 << 20), Some(1 << 10)));
        assert_eq!(bytes_of("Name:\tx\nState:\tZ (zombie)\n", "VmHWM:"), None);
    }

    #[test]
    fn what_a_program_starts_counts_to_its_tree_alone() {
        let mut command = Command::new("sh");
        command.args(["-c", "dd if=/dev/zero of=/dev/null bs=64M count=40 2>/dev/null; true"]);
        let usage = run(vec![command]).unwrap();
        assert!(usage.peak_rss < 32 << 20 && usage.peak_tree_rss > 64 << 20, "{usage:?}");
    }
}
