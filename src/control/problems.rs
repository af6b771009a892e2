//! Pure. The problems of a round, and what of them is new or gone since the last.

use crate::model::problem::Problem;

/// All problems in order, each once.
pub(super) fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems
}

/// What is in `now` and not in `before`, and the other way round. Both in order.
pub(super) fn difference<'p>(before: &'p [Problem], now: &'p [Problem]) -> (Vec<&'p Problem>, Vec<&'p Problem>) {
    let missing_in = |from: &'p [Problem], other: &'p [Problem]| -> Vec<&'p Problem> {
        from.iter().filter(|problem| other.binary_search(problem).is_err()).collect()
    };
    (missing_in(now, before), missing_in(before, now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::problem::Origin;

    #[test]
    fn says_what_is_new_and_what_is_gone() {
        let problem = |object: &str| Problem::new(&Origin::new("file", object), "is wrong");
        let before = in_order(vec![problem("b"), problem("a"), problem("a")]);
        let now = in_order(vec![problem("c"), problem("b")]);
        assert_eq!(before, [problem("a"), problem("b")]);
        assert_eq!(difference(&before, &now), (vec![&problem("c")], vec![&problem("a")]));
        assert_eq!(difference(&now, &now), (vec![], vec![]));
    }
}
