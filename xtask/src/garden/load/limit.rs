//! What limits the speed of a load, by a rule.

use mock_view::statistics::{count, ratio};

use super::figures::{Limit, Moment};

/// With this part of the machine's CPU in use, everything else waits for it.
const BUSY: f64 = 0.9;

/// A limit has to hold in this part of the moments.
const MOSTLY: f64 = 0.5;

/// The rule, for people.
pub(super) const RULE: &str = "\
The limit is the first of these that holds while Shoots are in work:
- 90 % or more of the machine's CPU is used in half of the moments or more;
- gardenlet logs that requests wait for its own limit of requests;
- all of gardenlet's workers are busy and further Shoots wait, in half of the moments or more.";

/// Finds the limit. Returns `None` if no Shoot was in work at any moment.
pub(super) fn find(moments: &[Moment], workers: f64, throttled: usize) -> Option<Limit> {
    let working: Vec<_> = moments.iter().filter(|moment| moment.working > 0.0).collect();
    let part = |which: &dyn Fn(&Moment) -> bool| {
        ratio(count(working.iter().filter(|moment| which(moment)).count()), count(working.len()))
    };
    let busy = part(&|moment| moment.cpu >= BUSY)?;
    let full = part(&|moment| moment.working >= workers && moment.waiting > 0.0)?;
    if busy >= MOSTLY {
        let first = working.iter().find(|moment| moment.cpu >= BUSY);
        let sum = |of: fn(&Moment) -> f64| working.iter().map(|moment| of(moment)).sum::<f64>();
        let garden = ratio(sum(|moment| moment.garden), sum(|moment| moment.cpu)).unwrap_or_default();
        let working = first.map(|moment| moment.working).unwrap_or_default();
        return Some(Limit::Cpu { moments: busy, garden: garden.min(1.0), working });
    }
    if throttled > 0 {
        return Some(Limit::Throttling);
    }
    Some(if full >= MOSTLY { Limit::Workers { moments: full } } else { Limit::Nothing })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment((cpu, working, waiting): (f64, f64, f64)) -> Moment {
        Moment { cpu, garden: cpu / 2.0, working, waiting, ..Moment::default() }
    }

    #[test]
    fn first_limit_that_holds_in_half_of_the_moments_counts() {
        let [idle, busy, full] = [(0.3, 2.0, 0.0), (0.95, 20.0, 5.0), (0.5, 20.0, 5.0)];
        // At rest, a busy machine says nothing about the load.
        let rest = (1.0, 0.0, 0.0);
        let cpu = |moments| Some(Limit::Cpu { moments, garden: 0.5, working: 20.0 });
        let table = [
            (vec![], 0, None),
            (vec![rest, rest], 0, None),
            (vec![busy, rest, idle], 3, cpu(0.5)),
            (vec![busy, full], 0, cpu(0.5)),
            (vec![busy, full, idle], 3, Some(Limit::Throttling)),
            (vec![full, full, idle], 0, Some(Limit::Workers { moments: 2.0 / 3.0 })),
            (vec![full, idle, idle, rest, rest], 0, Some(Limit::Nothing)),
            // All workers are busy, but no Shoot waits for one.
            (vec![(0.5, 20.0, 0.0)], 0, Some(Limit::Nothing)),
        ];
        for (moments, throttled, expected) in table {
            let moments: Vec<_> = moments.into_iter().map(moment).collect();
            assert_eq!(find(&moments, 20.0, throttled), expected, "{moments:?}");
        }
    }
}
