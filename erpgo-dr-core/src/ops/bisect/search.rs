//! The search itself: which point to ask next, and where the boundary lies. Knows nothing of what a point is.

/// A binary search along points of time for the first bad one behind a good one.
///
/// What lies before the first point counts as good, and what lies behind the last as bad: neither is asked. At the end the point before the
/// [`boundary`](Self::boundary) was found good and the one at it bad, whatever lies elsewhere: where good and bad take turns, it is one
/// boundary of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    /// The one before it is good.
    low: usize,
    /// It is bad.
    high: usize,
}

impl Search {
    /// Searches so many points.
    pub(super) fn over(points: usize) -> Self {
        Self { low: 0, high: points }
    }

    /// Returns the point to ask; `None` when the boundary is known.
    pub(super) fn next(&self) -> Option<usize> {
        (self.low < self.high).then(|| self.low + (self.high - self.low) / 2)
    }

    /// Takes what a point was found to be.
    pub(super) fn answer(&mut self, point: usize, good: bool) {
        match good {
            true => self.low = self.low.max(point + 1),
            false => self.high = self.high.min(point),
        }
    }

    /// Returns the first bad point; the number of points where none was found bad.
    pub(super) fn boundary(&self) -> usize {
        self.high
    }

    /// Returns how many points are asked from here on, at most.
    pub(super) fn most(&self) -> u32 {
        (self.high - self.low).checked_ilog2().map_or(0, |log| log + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Searches, and returns the boundary with the points that were asked.
    fn run(points: &[bool]) -> (usize, Vec<usize>) {
        let mut search = Search::over(points.len());
        let (most, mut asked) = (search.most(), Vec::new());
        while let Some(point) = search.next() {
            asked.push(point);
            search.answer(point, points[point]);
        }
        assert!(asked.len() <= most as usize, "{} asked, at most {most}", asked.len());
        (search.boundary(), asked)
    }

    #[test]
    fn no_point_and_one() {
        assert_eq!(run(&[]), (0, vec![]));
        assert_eq!(run(&[true]), (1, vec![0]));
        assert_eq!(run(&[false]), (0, vec![0]));
        assert_eq!(Search::over(10).most(), 4);
    }

    proptest! {
        #[test]
        fn where_all_is_bad_from_a_point_on_that_point_is_found(points in 0_usize..2000, good in 0_usize..2000) {
            let good = good.min(points);
            let (boundary, _) = run(&(0..points).map(|point| point < good).collect::<Vec<_>>());
            prop_assert_eq!(boundary, good);
        }

        #[test]
        fn where_good_and_bad_take_turns_a_good_point_is_found_before_a_bad_one(points in prop::collection::vec(any::<bool>(), 0..300)) {
            let (boundary, asked) = run(&points);
            if boundary > 0 {
                prop_assert!(points[boundary - 1] && asked.contains(&(boundary - 1)));
            }
            if boundary < points.len() {
                prop_assert!(!points[boundary] && asked.contains(&boundary));
            }
            let mut once = asked.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), asked.len(), "no point is asked twice");
        }
    }
}
