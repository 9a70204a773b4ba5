//! Pipeline files: those of the project load, the demo's runs, and a wrong one is refused with all that is wrong.

use super::datasets::read;
use super::support::{Place, model, project};

#[test]
fn every_pipeline_of_the_project_loads() {
    let place = Place::new();
    let files: Vec<_> = fs_err::read_dir(project("pipelines")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 3);
    for file in files {
        let file = file.to_str().unwrap();
        // In an empty folder the inputs are not there, which is no fault of the file.
        let ran = place.run(&["explain", file]);
        assert!(ran.code != Some(2) && !ran.stderr.contains("not a valid pipeline"), "{file}: {}", ran.stderr);
        let unknown = place.run(&["explain", "--set", "nobody.out=x", file]);
        unknown.fails(2, &["not a valid pipeline", "no stage `nobody`"]);
    }
}

#[test]
fn a_wrong_pipeline_is_refused_with_all_its_problems_at_once() {
    let place = Place::new();
    place.write(
        "bad.toml",
        "version = 1\ncolour = \"red\"\n[[stage]]\nrun = \"embed\"\ninputs = [\"a\"]\nout = \"o\"\nmax_length = 5\n\
         [[stage]]\nname = \"second\"\nrun = \"fly\"\nout = \"p\"\n",
    );
    for command in ["run", "explain"] {
        let ran = place.run(&[command, "--set", "embed=1", "bad.toml"]);
        ran.fails(2, &["bad.toml", "`colour`", "max_length", "max-length", "`fly`", "`second`", "embed=1"]);
    }
    assert_eq!(place.files("").len(), 1);
}

#[test]
fn a_stage_that_fails_ends_the_pipeline_with_its_exit_code() {
    let place = Place::new();
    place.write("in.csv", "id,stars\n1,5\n");
    let stages = "version = 1\n[[stage]]\nname = \"a\"\nrun = \"ingest\"\ninputs = [\"in.csv\"]\nout = \"a\"\n\
                  [[stage]]\nname = \"b\"\nrun = \"ingest\"\ninputs = [\"a\"]\nout = \"b\"\n";
    place.write("two.toml", stages);
    place.run(&["run", "two.toml"]).fails(2, &["`id`", "`stars`"]);
    assert!(!place.path("b").exists());
    place.run(&["run", "two.toml", "--set", "a.text-column=id", "--set", "a.out=c", "--set", "b.inputs=c"]).ok();
    assert_eq!(read(&place, "b/reviews").num_rows(), 1);
}

#[test]
fn a_set_counts_before_and_behind_the_file() {
    let place = Place::new();
    place.write("in.csv", "text\nfine\n");
    place.write("one.toml", "version = 1\n[[stage]]\nrun = \"ingest\"\ninputs = [\"nowhere\"]\nout = \"out\"\n");
    let set = "ingest.inputs=in.csv";
    for arguments in [["explain", "--set", set, "one.toml"], ["explain", "one.toml", "--set", set]] {
        assert!(place.run(&arguments).ok().stdout.contains("rows 1"), "{arguments:?}");
    }
    place.run(&["run", "one.toml", "--set", set]).ok();
    assert_eq!(read(&place, "out/reviews").num_rows(), 1);
}

#[test]
fn the_demo_runs_from_reviews_to_predictions_and_a_second_time_does_nothing() {
    let Some(model) = model() else { return };
    let place = Place::new();
    fs_err::create_dir(place.path("tests")).unwrap();
    fs_err::os::unix::fs::symlink(project("tests/demo"), place.path("tests/demo")).unwrap();
    let (demo, model) = (project("pipelines/demo.toml"), format!("embed.model={model}"));
    let arguments = ["run", &demo, "--set", &model, "--set", "score.keep-columns=all"];
    place.run(&arguments).ok().says(&["[1/", "accuracy"]);
    let scored = read(&place, "demo-out/scored/predictions");
    let lines = fs_err::read_to_string(project("tests/demo/reviews.jsonl")).unwrap().lines().count();
    assert_eq!(scored.num_rows(), lines);
    assert!(place.json("demo-out/scored/run.json")["metrics"]["accuracy"].as_f64().unwrap() > 0.5);
    let before = place.files("demo-out");
    place.run(&arguments).ok().says(&["nothing to do"]);
    assert!(before == place.files("demo-out"), "a finished demo was touched");
}

#[test]
fn a_pipeline_may_judge_and_export_its_head_and_a_second_time_does_nothing() {
    let Some(model) = model() else { return };
    let place = Place::new();
    let stages = |reviews: &str| {
        format!(
            "version = 1\n\
             [[stage]]\nrun = \"embed\"\ninputs = [\"{reviews}\"]\nout = \"features\"\nmodel = \"{model}\"\n\
             [[stage]]\nrun = \"train\"\ninputs = [\"features\"]\nout = \"head\"\n\
             [[stage]]\nrun = \"evaluate\"\ninputs = [\"features\"]\nhead = \"head\"\nout = \"judged\"\n\
             [[stage]]\nrun = \"export\"\nhead = \"head\"\nout = \"served/model.onnx\"\n"
        )
    };
    place.write("all.toml", stages(&project("tests/demo/reviews.csv")));
    place.run(&["run", "all.toml"]).ok().says(&["[4/4] export", "accuracy"]);
    assert!(place.json("judged/evaluation.json")["metrics"]["accuracy"]["value"].as_f64().unwrap() > 0.5);
    let before = ["features", "head", "judged", "served"].map(|out| place.files(out));
    let explained = place.run(&["explain", "all.toml"]).ok();
    assert_eq!(explained.stdout.matches("(1 done)").count(), 4, "{}", explained.stdout);
    let again = place.run(&["run", "all.toml"]).ok();
    assert_eq!(again.stderr.matches("nothing to do").count(), 4, "{}", again.stderr);
    assert!(before == ["features", "head", "judged", "served"].map(|out| place.files(out)), "it was done again");
    // An export has no inputs, and says so.
    place.write("wrong.toml", "version = 1\n[[stage]]\nrun = \"export\"\ninputs = [\"x\"]\nout = \"m.onnx\"\n");
    place.run(&["explain", "wrong.toml"]).fails(2, &["unknown key `inputs`", "--head"]);
}
