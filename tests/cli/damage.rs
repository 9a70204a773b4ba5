//! Damaged or exchanged models: refused by name, never used.

use std::path::Path;

use super::fixtures::head;
use super::support::{Place, model};

const FILES: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];

/// A copy of the model's folder whose `file` went through `change`.
fn changed(place: &Place, model: &str, file: &str, change: impl Fn(&mut Vec<u8>)) {
    fs_err::create_dir_all(place.path("model")).unwrap();
    for name in FILES {
        let (from, to) = (Path::new(model).join(name), place.path("model").join(name));
        fs_err::remove_file(&to).ok();
        if name == file {
            let mut bytes = fs_err::read(from).unwrap();
            change(&mut bytes);
            fs_err::write(to, bytes).unwrap();
        } else {
            fs_err::os::unix::fs::symlink(from.canonicalize().unwrap(), to).unwrap();
        }
    }
}

#[test]
fn a_corrupt_model_file_is_refused_by_name() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", "text\nfine\n");
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    let scramble = |bytes: &mut Vec<u8>| bytes[..64].iter_mut().for_each(|byte| *byte ^= 0xff);
    for file in FILES {
        for change in [&cut as &dyn Fn(&mut Vec<u8>), &scramble, &|bytes| bytes.clear()] {
            changed(&place, &model, file, change);
            let ran = place.run(&["embed", "--model", "model", "in.csv", "--out", "out", "--overwrite"]);
            let ran = ran.fails(1, &[file]);
            assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        }
    }
}

#[test]
fn a_model_folder_that_lacks_a_file_is_refused_by_name() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", "text\nfine\n");
    for file in FILES {
        changed(&place, &model, "", |_| {});
        fs_err::remove_file(place.path("model").join(file)).unwrap();
        let ran = place.run(&["embed", "--model", "model", "in.csv", "--out", "out", "--overwrite"]);
        assert!(matches!(ran.code, Some(1 | 2)), "{}", ran.stderr);
        assert!(ran.stderr.contains(file), "{}", ran.stderr);
    }
}

#[test]
fn a_head_is_not_used_behind_an_encoder_that_it_was_not_trained_on() {
    let Some(model) = model() else { return };
    let Some(head) = head() else { return };
    let place = Place::new();
    place.write("in.csv", "text\nfine\n");
    // One bit of one weight: the file is as well-formed as before.
    changed(&place, &model, "model.safetensors", |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    let ran = place.run(&["score", "in.csv", "--model", "model", "--head", head, "--out", "out"]);
    ran.fails(1, &["another encoder", "weights"]);
    changed(&place, &model, "", |_| {});
    place.run(&["score", "in.csv", "--model", "model", "--head", head, "--out", "out"]).ok();
}

#[test]
fn a_damaged_input_file_is_named() {
    let place = Place::new();
    place.write("in.parquet", "PAR1 but nothing else");
    place.run(&["ingest", "in.parquet", "--out", "out"]).fails(1, &["in.parquet"]);
    place.write("old.tar.gz", "x");
    place.run(&["ingest", "old.tar.gz", "--out", "old"]).fails(1, &["`old.tar.gz`"]);
}
