//! The article's recipe: its losses on real features against an independent training of the same head.

use super::datasets::{Embedded, embedded};
use super::perceptron::{Settings, losses};
use super::support::{Place, model, shared};

const ARTICLE: Settings = Settings { hidden: 512, dropout: 0.1, learning_rate: 1e-5, batch: 32, epochs: 5, seed: 1 };

fn examples(rows: &[Embedded]) -> Vec<(&[f32], usize)> {
    rows.iter().map(|row| (row.embedding.as_slice(), usize::from(row.label.as_deref() == Some("1")))).collect()
}

/// Train and validation loss of each epoch as `train` saved them.
fn trained(place: &Place, out: &str) -> Vec<(f64, f64)> {
    let run = place.json(&format!("{out}/run.json"));
    let epochs = run["metrics"]["epochs"].as_array().unwrap();
    epochs.iter().map(|e| (e["train_loss"].as_f64().unwrap(), e["validation_loss"].as_f64().unwrap())).collect()
}

#[track_caller]
fn assert_close(found: &[(f64, f64)], expected: &[(f64, f64)], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (epoch, (found, expected)) in found.iter().zip(expected).enumerate() {
        let apart = (found.0 - expected.0).abs().max((found.1 - expected.1).abs());
        assert!(apart <= tolerance, "epoch {}: {found:?} and by hand {expected:?}", epoch + 1);
    }
}

#[test]
fn the_articles_losses_are_those_of_the_same_head_trained_by_hand() {
    let Some(model) = model() else { return };
    let Some(data) = shared("data/sst2-no-header") else { return };
    let place = Place::new();
    place.embed(&model, &[&format!("{data}/dev.tsv"), "--out", "train-features"]);
    place.embed(&model, &[&format!("{data}/test.tsv"), "--out", "held-out", "--limit", "300"]);
    let (train, held_out) = (embedded(&place, "train-features"), embedded(&place, "held-out"));
    assert_eq!((train.len(), held_out.len()), (872, 300));
    let article = ["train", "train-features", "--validation", "held-out", "--recipe", "article", "--out"];

    place.run(&[&article[..], &["head"]].concat()).ok();
    let found = trained(&place, "head");
    assert_close(&found, &losses(&examples(&train), &examples(&held_out), 2, ARTICLE), 0.01);
    // Of 872 rows, what dropout drops moves the train loss as much as an epoch at 1e-5 does; it moves no validation loss.
    assert!(found.is_sorted_by(|a, b| a.1 > b.1) && found[4].0 < found[0].0 - 0.005, "no fall: {found:?}");

    // Five epochs of so few rows barely move; with twenty times the rate the losses have to follow the same way down.
    place.run(&[&article[..], &["fast", "--learning-rate", "2e-4"]].concat()).ok();
    let fast = Settings { learning_rate: 2e-4, ..ARTICLE };
    let by_hand = losses(&examples(&train), &examples(&held_out), 2, fast);
    assert!(by_hand[4].0 < 0.6, "the comparison says nothing: {by_hand:?}");
    assert_close(&trained(&place, "fast"), &by_hand, 0.03);
}

#[test]
fn the_articles_recipe_is_the_articles() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.embed(&model, &[&super::support::project("tests/demo/reviews.csv"), "--out", "features"]);
    place.run(&["train", "features", "--recipe", "article", "--out", "head"]).ok();
    let rows = embedded(&place, "features").len();
    let bundle = place.json("head/bundle.json");
    let recipe = &bundle["training"]["recipe"];
    assert_eq!(
        (&recipe["hidden"], &recipe["batch_size"], &recipe["epochs"]),
        (&serde_json::json!([512]), &32.into(), &5.into())
    );
    let number = |key: &str| recipe[key].as_f64().unwrap();
    assert_eq!((number("learning_rate"), number("weight_decay")), (1e-5, 0.01));
    assert!((number("dropout") - 0.1).abs() < 1e-6);
    assert_eq!((number("val_fraction"), &recipe["seed"]), (0.2, &42.into()));
    let share = |key: &str| bundle["training"][key].as_f64().unwrap() / rows as f64;
    assert!(
        (share("train_rows") - 0.8).abs() < 0.01 && (share("train_rows") + share("validation_rows") - 1.0).abs() < 1e-9
    );
    let epochs = trained(&place, "head");
    assert!(
        epochs.iter().all(|(train, validation)| (train - validation).abs() < 0.1 && (train - 2_f64.ln()).abs() < 0.05)
    );
    let best = bundle["training"]["best_epoch"].as_u64().unwrap() as usize;
    assert!(epochs.iter().all(|epoch| epoch.1 >= epochs[best - 1].1), "epoch {best} of {epochs:?}");
}
