//! What was measured, as a table for people and as lines `name value`.

use std::io::{self, Write};

use erpgo_dr_benches::children::Usage;
use erpgo_dr_benches::measure::median;

use crate::folders::Stored;

/// All samples, in the order in which their rows first came.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    ratios: Vec<(String, Vec<f64>)>,
}

#[derive(Debug)]
struct Row {
    what: String,
    who: String,
    samples: Vec<(Usage, Option<Stored>)>,
}

impl Table {
    /// Adds a sample of what `who` did.
    pub(crate) fn add(&mut self, what: &str, who: &str, usage: Usage, stored: Option<Stored>) {
        match self.rows.iter_mut().find(|row| row.what == what && row.who == who) {
            Some(row) => row.samples.push((usage, stored)),
            None => self.rows.push(Row { what: what.into(), who: who.into(), samples: vec![(usage, stored)] }),
        }
    }

    /// Adds a ratio of two samples that were taken one after the other.
    pub(crate) fn ratio(&mut self, name: &str, value: f64) {
        match self.ratios.iter_mut().find(|(other, _)| other == name) {
            Some((_, values)) => values.push(value),
            None => self.ratios.push((name.into(), vec![value])),
        }
    }

    /// Prints a row for each thing that was done, then the median of each ratio.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "| | | wall s: median (least) | CPU s | MB resident | MB stored | objects |")?;
        writeln!(out, "|---|---|---|---|---|---|---|")?;
        let mut whats: Vec<&str> = Vec::new();
        self.rows.iter().for_each(|row| {
            if !whats.contains(&row.what.as_str()) {
                whats.push(&row.what);
            }
        });
        for what in whats {
            self.rows.iter().filter(|row| row.what == what).try_for_each(|row| row.print(out))?;
        }
        writeln!(out)?;
        for (name, values) in &self.ratios {
            writeln!(out, "{name} {:.3}", median(values.clone()))?;
        }
        out.flush()
    }
}

impl Row {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let of =
            |figure: fn(&Usage) -> f64| -> Vec<f64> { self.samples.iter().map(|(usage, _)| figure(usage)).collect() };
        let walls = of(|usage| usage.wall);
        let least = walls.iter().copied().fold(f64::INFINITY, f64::min);
        let (wall, cpu) = (median(walls), median(of(|usage| usage.cpu)));
        let resident = of(|usage| usage.peak_tree_rss as f64).into_iter().fold(0.0, f64::max) / 1e6;
        let last = self.samples.last().and_then(|(_, stored)| *stored);
        let (bytes, objects) = last
            .map(|stored| (format!("{:.1}", stored.bytes as f64 / 1e6), stored.objects.to_string()))
            .unwrap_or_default();
        let (what, who) = (&self.what, &self.who);
        writeln!(out, "| {what} | {who} | {wall:.2} ({least:.2}) | {cpu:.2} | {resident:.0} | {bytes} | {objects} |")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_thing_stand_together_and_ratios_are_medians() {
        let usage = |wall| Usage { wall, cpu: 1.0, peak_rss: 0, peak_tree_rss: 3_000_000 };
        let mut table = Table::default();
        table.add("full", "a", usage(3.0), Some(Stored { bytes: 1_500_000, objects: 7 }));
        table.add("restore", "a", usage(9.0), None);
        table.add("full", "b", usage(1.0), None);
        table.add("full", "b", usage(5.0), None);
        [4.0, 1.0, 2.0].into_iter().for_each(|value| table.ratio("full_ratio", value));
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let expected = "| full | a | 3.00 (3.00) | 1.00 | 3 | 1.5 | 7 |\n| full | b | 5.00 (1.00) | 1.00 | 3 |  |  |\n\
                        | restore | a | 9.00 (9.00) | 1.00 | 3 |  |  |\n\nfull_ratio 2.000\n";
        assert!(text.ends_with(expected), "{text}");
    }
}
