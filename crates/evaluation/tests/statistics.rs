//! The statistics compared with numbers from other programs (named in `data/statistics.json`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use evaluation::statistics::{Calibration, edit_distance, kendall, mean_absolute_error, pearson, spearman};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("data/statistics.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn correlations_are_those_of_scipy() {
    let golden = golden();
    let sets = golden["correlations"].as_array().unwrap();
    assert_eq!(sets.len(), 5);
    for set in sets {
        let pairs: Vec<(f64, f64)> = numbers(&set["x"]).into_iter().zip(numbers(&set["y"])).collect();
        for (name, found) in [
            ("pearson", pearson(&pairs)),
            ("spearman", spearman(&pairs)),
            ("kendall", kendall(&pairs)),
            ("mean_absolute_error", mean_absolute_error(&pairs)),
        ] {
            let (found, wanted) = (found.unwrap(), set[name].as_f64().unwrap());
            assert!((found - wanted).abs() < 1e-12, "{} {name}: {found}, not {wanted}", set["name"]);
        }
    }
}

#[test]
fn what_does_not_vary_has_no_correlation() {
    // The mean of ten times 0.1 is not 0.1.
    let inexact = (0..10).map(|index| (0.1, f64::from(index))).collect();
    let turned = (0..10).map(|index| (f64::from(index), 0.1)).collect();
    for pairs in [
        vec![],
        vec![(1.0, 2.0)],
        vec![(1.0, 2.0), (1.0, 3.0)],
        vec![(1.0, 2.0), (3.0, 2.0)],
        inexact,
        turned,
    ] {
        assert_eq!([pearson(&pairs), spearman(&pairs), kendall(&pairs)], [None; 3], "{pairs:?}");
    }
    assert_eq!(mean_absolute_error(&[]), None);
}

#[test]
fn calibration_is_that_of_numpy() {
    let golden = &golden()["calibration"];
    let right = golden["right"].as_array().unwrap().iter().map(|right| right.as_bool().unwrap());
    let verdicts: Vec<(f64, bool)> = numbers(&golden["confidence"]).into_iter().zip(right).collect();
    let found = Calibration::new(&verdicts, 10).unwrap();
    assert!((found.expected_error - golden["expected_error"].as_f64().unwrap()).abs() < 1e-12);
    assert_eq!(found.bins.iter().map(|bin| bin.count).sum::<usize>(), verdicts.len());
    assert_eq!(Calibration::new(&[], 10), None);
    let sure = Calibration::new(&[(1.0, true)], 10).unwrap();
    assert_eq!((sure.bins[0].low, sure.expected_error), (0.9, 0.0));
}

#[test]
fn rankings_differ_by_their_edits() {
    // Computed by hand.
    for (one, other, distance) in [
        (&[0, 1, 2, 3][..], &[0, 1, 2, 3][..], Some(0.0)),
        (&[0, 1, 2, 3], &[3, 2, 1, 0], Some(1.0)),
        (&[0, 1, 2, 3], &[1, 0, 2, 3], Some(0.5)),
        (&[0, 1, 2], &[1, 2, 0], Some(2.0 / 3.0)),
        (&[0, 1], &[0], Some(0.5)),
        (&[], &[], None),
    ] {
        assert_eq!(edit_distance(one, other), distance, "{one:?} {other:?}");
    }
}
