//! `explain`: the plan that would run, and nothing written.

use super::fixtures::{csv, head, parquet};
use super::support::{Place, model};

/// Digits of rates and times, and paths of this machine, are no part of a snapshot.
fn settings(place: &Place) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    let folder = place.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    settings.add_filter(&format!("/?{}", folder.trim_start_matches('/').replace('.', r"\.")), "[place]");
    settings.add_filter(r"at \d+ tokens/s: \d+\.\d+ hours", "at [rate] tokens/s: [hours] hours");
    settings.add_filter(r"input \d+ bytes", "input [bytes] bytes");
    settings.add_filter(r"model=[^,]*", "model=[model]");
    settings
}

#[test]
fn scoring_parquet_is_a_scan_then_the_encoder_then_the_sink() {
    let Some(head) = head() else { return };
    let place = Place::new();
    parquet(&place.path("in.parquet"));
    let explained = place.run(&["explain", "score", "in.parquet", "--head", head, "--out", "out"]).ok();
    settings(&place).bind(|| insta::assert_snapshot!(explained.stdout, @r"
        score
          PartSinkExec: datasets=[predictions, rejects]
            EmbedExec: model=[model], output=probabilities[2]
              SalvageExec
                ProjectionExec: expr=[__bertline_source_file@1 as source_file, CAST(__bertline_row@2 AS UInt64) as row, review@0 as text, NULL as label]
                  DataSourceExec: file_groups={1 group: [[[place]/in.parquet]]}, projection=[review, __bertline_source_file, __bertline_row], file_type=parquet
          units 1 (0 done), rows 40, input [bytes] bytes
          about 824 tokens at [rate] tokens/s: [hours] hours left to encode
        "));
    assert!(!place.path("out").exists());
}

#[test]
fn embedding_a_csv_is_a_scan_then_the_encoder_then_the_sink() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(30, 6));
    let explained = place.run(&["explain", "embed", "in.csv", "--model", &model, "--out", "out"]).ok();
    settings(&place).bind(|| {
        insta::assert_snapshot!(explained.stdout, @r"
        embed
          PartSinkExec: datasets=[rows, features, rejects]
            EmbedExec: model=[model], output=embedding[384]
              DataSourceExec: partitions=1, partition_sizes=[1]
          units 1 (0 done), rows 30, input [bytes] bytes
          about 240 tokens at [rate] tokens/s: [hours] hours left to encode
        ")
    });
    assert!(!place.path("out").exists());
}

#[test]
fn ingesting_needs_no_encoder() {
    let place = Place::new();
    place.write("in.csv", csv(30, 6));
    let explained = place.run(&["explain", "ingest", "in.csv", "--out", "out"]).ok();
    settings(&place).bind(|| {
        insta::assert_snapshot!(explained.stdout, @r"
        ingest
          PartSinkExec: datasets=[reviews, rejects]
            DataSourceExec: partitions=1, partition_sizes=[1]
          units 1 (0 done), rows 30, input [bytes] bytes
        ")
    });
    assert!(!place.path("out").exists());
}

#[test]
fn what_is_done_already_is_said_and_json_has_the_same_figures() {
    let place = Place::new();
    place.write("in.csv", csv(30, 6));
    let explain = ["explain", "--json", "ingest", "in.csv", "--out", "out"];
    let before = place.run(&explain).ok().json_lines().remove(0);
    assert_eq!((&before["units"], &before["units_done"], &before["rows"]), (&1.into(), &0.into(), &30.into()));
    place.run(&["ingest", "in.csv", "--out", "out"]).ok();
    let after = place.run(&explain).ok().json_lines().remove(0);
    assert_eq!((&after["units"], &after["units_done"]), (&1.into(), &1.into()));
}

#[test]
fn the_estimate_of_tokens_is_near_what_is_fed() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(60, 12));
    let explained = place.run(&["explain", "--json", "embed", "in.csv", "--model", &model, "--out", "out"]).ok();
    place.embed(&model, &["in.csv", "--out", "out"]);
    let estimated = explained.json_lines()[0]["tokens_estimated"].as_f64().unwrap();
    let fed = place.json("out/run.json")["tokens"].as_f64().unwrap();
    assert!((estimated / fed - 1.0).abs() < 0.02, "{estimated} and {fed}");
}

#[test]
fn a_stage_that_cannot_run_cannot_be_explained() {
    let place = Place::new();
    place.write("in.csv", "id,stars\n1,5\n");
    place.run(&["explain", "ingest", "in.csv", "--out", "out"]).fails(2, &["`id`", "`stars`"]);
    place.run(&["explain", "show", "in.csv"]).fails(2, &["ingest, embed, train, score, evaluate, export"]);
}
