//! Pure. Counting rise and fall: when results in a row change a verdict.

use crate::model::live::probe::Verdict;

/// The verdict and streak after one more result. The first result decides at once, since nothing speaks against it;
/// after that it takes `fall` failures in a row to go down and `rise` successes to come up.
pub fn next(verdict: Verdict, streak: u32, success: bool, fall: u32, rise: u32) -> (Verdict, u32) {
    let (against, needed, other) = match verdict {
        Verdict::Unknown => return (if success { Verdict::Up } else { Verdict::Down }, 0),
        Verdict::Up => (!success, fall, Verdict::Down),
        Verdict::Down => (success, rise, Verdict::Up),
    };
    match (against, streak + 1) {
        (false, _) => (verdict, 0),
        (true, streak) if streak >= needed => (other, 0),
        (true, streak) => (verdict, streak),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs results (`+` and `-`) from an unknown state; gives the verdict after each (`u`, `d`).
    fn run(results: &str, fall: u32, rise: u32) -> String {
        let mut state = (Verdict::Unknown, 0);
        let verdicts = results.chars().map(|result| {
            state = next(state.0, state.1, result == '+', fall, rise);
            if state.0 == Verdict::Up { 'u' } else { 'd' }
        });
        verdicts.collect()
    }

    #[test]
    fn the_first_result_decides_then_streaks_do() {
        assert_eq!(run("+-+--+", 2, 1), "uuuudu");
        assert_eq!(run("-+-++-", 2, 2), "dddduu");
        assert_eq!(run("+---", 1, 1), "uddd");
        assert_eq!(run("-", 3, 3), "d");
    }
}
