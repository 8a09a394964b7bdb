//! The jobs, and which moments of their schedules nothing came of.

use chrono::{DateTime, Utc};

/// How long behind a moment of the schedule a run that ends well may begin: the window of attempts, and what other jobs take before it.
const PATIENCE: f64 = 60.0 + 90.0;

/// A job of the soak.
#[derive(Debug)]
pub(crate) struct SoakJob {
    pub(crate) name: &'static str,
    /// Six fields of cron, for moments whose seconds since 1970 are multiples of `period`.
    pub(crate) schedule: &'static str,
    /// Seconds.
    pub(crate) period: i64,
    /// The other keys of its table.
    pub(crate) keys: &'static str,
}

/// Together they take some ten seconds of each minute.
pub(crate) const JOBS: [SoakJob; 10] = [
    SoakJob { name: "backup", schedule: "*/20 * * * * *", period: 20, keys: "kind = \"backup\"" },
    SoakJob { name: "cluster", schedule: "10 * * * * *", period: 60, keys: "kind = \"cluster-backup\"\nremote = true" },
    SoakJob { name: "check", schedule: "*/30 * * * * *", period: 30, keys: "kind = \"check\"\nwal = true" },
    SoakJob { name: "verify", schedule: "0 * * * * *", period: 60, keys: "kind = \"verify\"" },
    SoakJob {
        name: "verify-all",
        schedule: "0 */3 * * * *",
        period: 180,
        keys: "kind = \"verify\"\nbackups = \"all\"",
    },
    SoakJob { name: "prune", schedule: "0 * * * * *", period: 60, keys: "kind = \"prune\"" },
    SoakJob { name: "wal-prune", schedule: "0 */2 * * * *", period: 120, keys: "kind = \"wal-prune\"" },
    SoakJob { name: "repair", schedule: "0 * * * * *", period: 60, keys: "kind = \"repair\"" },
    SoakJob { name: "restore-test", schedule: "0 */2 * * * *", period: 120, keys: "kind = \"restore-test\"" },
    SoakJob {
        name: "replay-test",
        schedule: "0 */3 * * * *",
        period: 180,
        keys: "kind = \"restore-test\"\nrandom = true",
    },
];

/// From when to when, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) begun: f64,
    pub(crate) ended: f64,
}

/// A run of the history.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) job: String,
    pub(crate) began: f64,
    pub(crate) went_well: bool,
}

/// Reads the runs that `history --json` shows. One that found something bad has done its work; alarms tell of that.
pub(crate) fn runs_of(history: &serde_json::Value) -> Vec<Run> {
    let runs = history["runs"].as_array().into_iter().flatten();
    let read = |run: &serde_json::Value| {
        let began: DateTime<Utc> = run["began"].as_str()?.parse().ok()?;
        let went_well = matches!(run["state"].as_str()?, "succeeded" | "found");
        Some(Run { job: run["job"].as_str()?.to_owned(), began: seconds(began), went_well })
    };
    runs.filter_map(read).collect()
}

/// Returns the seconds since 1970.
pub(crate) fn seconds(moment: DateTime<Utc>) -> f64 {
    moment.timestamp_micros() as f64 / 1e6
}

/// Names the moments of the schedules within a span that nothing came of in time. Outages are not counted.
pub(crate) fn missed(runs: &[Run], outages: &[Span], within: Span) -> Vec<String> {
    let mut missed = Vec::new();
    for job in &JOBS {
        let offset = job.schedule.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0);
        let first = (within.begun as i64 - offset).div_euclid(job.period) + 1;
        let moments = (first..).map(|number| (number * job.period + offset) as f64);
        for moment in moments.take_while(|moment| moment + PATIENCE <= within.ended) {
            let well = runs.iter().filter(|run| run.job == job.name && run.went_well && run.began >= moment);
            let took = well.map(|run| run.began).min_by(f64::total_cmp).map(|began| without(outages, moment, began));
            match took {
                Some(took) if took <= PATIENCE => {}
                Some(took) => missed.push(format!("{} of {moment}: {took:.0} s late", job.name)),
                // The end may have come before.
                None if without(outages, moment, within.ended) <= PATIENCE => {}
                None => missed.push(format!("{} of {moment}: never", job.name)),
            }
        }
    }
    missed
}

/// Returns how long it is from one moment to another, outages not counted.
fn without(outages: &[Span], from: f64, to: f64) -> f64 {
    let away = outages.iter().map(|outage| (outage.ended.min(to) - outage.begun.max(from)).max(0.0)).sum::<f64>();
    to - from - away
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(begun: f64, ended: f64) -> Span {
        Span { begun, ended }
    }

    /// All jobs begin at each moment, but for those that are left out.
    fn runs(until: i64, left_out: impl Fn(&str, i64) -> bool) -> Vec<Run> {
        let every = |job: &'static SoakJob| {
            (0..until).filter(move |second| second % 10 == 0).map(move |second| (job.name, second))
        };
        let kept = JOBS.iter().flat_map(every).filter(|(name, second)| !left_out(name, *second));
        kept.map(|(name, second)| Run { job: name.to_owned(), began: second as f64, went_well: true }).collect()
    }

    #[test]
    fn nothing_is_missed_where_each_moment_has_a_run_in_time() {
        assert_eq!(missed(&runs(1000, |_, _| false), &[], span(0.0, 1000.0)), Vec::<String>::new());
        let late = runs(1000, |name, second| name == "backup" && (200..340).contains(&second));
        assert_eq!(missed(&late, &[], span(0.0, 1000.0)), Vec::<String>::new());
    }

    #[test]
    fn a_run_that_comes_too_late_or_never_is_missed() {
        let late = runs(1000, |name, second| name == "backup" && (200..400).contains(&second));
        assert_eq!(missed(&late, &[], span(0.0, 1000.0)).len(), 3);
        // Of 200, 220 and 240; with an outage none of them is late.
        assert!(missed(&late, &[span(220.0, 300.0)], span(0.0, 1000.0)).is_empty());
        let never = runs(1000, |name, second| name == "cluster" && second >= 700);
        assert_eq!(missed(&never, &[], span(0.0, 1000.0)), ["cluster of 730: never", "cluster of 790: never"]);
    }
}
