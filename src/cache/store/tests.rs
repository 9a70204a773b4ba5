//! What a store keeps, shares, passes over and lets go.

use std::time::{Duration, SystemTime};

use super::*;
use crate::cache::{Key, Known};

const WIDTH: usize = 4;

fn encoder(numerics: &str) -> StoreEncoder {
    StoreEncoder {
        model: "m".to_owned(),
        encoder_id: "e1".to_owned(),
        numerics: numerics.to_owned(),
        width: WIDTH,
        encoder: json!({ "max_length": 250 }),
        numerics_parts: json!({}),
    }
}

fn open(dir: &Path) -> Known {
    let store = Store::open(dir, &encoder("fp32/test")).unwrap();
    Known::open(WIDTH, &[], Some(store)).unwrap()
}

fn vector(text: &str) -> Vec<f32> {
    Key::of(text).0[..WIDTH].iter().map(|byte| f32::from(*byte) / 7.0).collect()
}

fn add(known: &Known, texts: &[&str]) {
    let keys: Vec<Key> = texts.iter().map(|text| Key::of(text)).collect();
    let vectors: Vec<f32> = texts.iter().flat_map(|text| vector(text)).collect();
    let tokens: Vec<(u32, bool)> = texts.iter().map(|text| (text.len() as u32, text.len() > 3)).collect();
    known.add(&keys, &vectors, &tokens).unwrap();
}

/// Those of `texts` that are known; each must have its own vector and tokens.
fn known<'a>(known: &Known, texts: &[&'a str]) -> Vec<&'a str> {
    let keys: Vec<Key> = texts.iter().map(|text| Key::of(text)).collect();
    let fetched = known.fetch(&keys).unwrap();
    let mut found: Vec<&str> = fetched.asked.iter().map(|asked| texts[*asked]).collect();
    let vectors: Vec<f32> = found.iter().flat_map(|text| vector(text)).collect();
    assert_eq!(fetched.vectors, vectors);
    let tokens: Vec<(u32, bool)> = found.iter().map(|text| (text.len() as u32, text.len() > 3)).collect();
    assert_eq!(fetched.tokens, tokens);
    found.sort_unstable();
    found
}

/// A store with a part for each of `texts`, the oldest first, a minute between them.
fn store_of(dir: &Path, texts: &[&str]) -> Vec<PathBuf> {
    let known = open(dir);
    let mut paths: Vec<PathBuf> = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        add(&known, &[text]);
        let parts = known.store().unwrap().parts().unwrap();
        let new = parts.iter().find(|part| !paths.contains(&part.path)).unwrap().path.clone();
        let minutes = (texts.len() - number) as u64;
        let file = std::fs::File::options().write(true).open(&new).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60 * minutes)).unwrap();
        paths.push(new);
    }
    paths
}

fn flip_a_byte(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[40] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_one_run_adds_is_known_to_it_and_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    assert!(known(&first, &["a", "b"]).is_empty());
    add(&first, &["b", "long"]);
    add(&first, &["c"]);
    assert_eq!(known(&first, &["a", "c", "long", "b"]), ["b", "c", "long"]);
    // Beside the first one, which still holds the store.
    let second = open(dir.path());
    assert_eq!(second.texts(), 3);
    assert_eq!(known(&second, &["a", "c", "long", "b"]), ["b", "c", "long"]);
    add(&second, &["b", "d"]);
    assert_eq!(known(&open(dir.path()), &["a", "b", "c", "d"]), ["b", "c", "d"]);
}

#[test]
fn other_numerics_have_a_folder_of_their_own_and_a_folder_of_another_encoder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    add(&open(dir.path()), &["a"]);
    let other = Store::open(dir.path(), &encoder("bf16/test")).unwrap();
    let folder = other.folder().to_owned();
    assert!(known(&Known::open(WIDTH, &[], Some(other)).unwrap(), &["a"]).is_empty());
    assert_eq!(list(dir.path()).unwrap().iter().map(|listed| listed.rows).collect::<Vec<_>>(), [0, 1]);
    fs::write(folder.join(ENCODER), json!(encoder("fp32/test")).to_string()).unwrap();
    let message = Store::open(dir.path(), &encoder("bf16/test")).unwrap_err().to_string();
    assert!(message.contains("fp32/test") && message.contains("bf16/test"), "{message}");
}

#[test]
fn a_folder_that_holds_something_else_is_refused_and_an_empty_one_taken() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(list(dir.path()), Err(Error::NoStore { .. })));
    assert!(matches!(verify(dir.path()), Err(Error::NeitherStoreNorOutput { .. })));
    fs::write(dir.path().join("thesis.txt"), "x").unwrap();
    let message = Store::open(dir.path(), &encoder("fp32/test")).unwrap_err().to_string();
    assert!(message.contains("`thesis.txt`"), "{message}");
    assert!(matches!(gc(dir.path(), Limits::default()), Err(Error::NoStore { .. })));
    fs::remove_file(dir.path().join("thesis.txt")).unwrap();
    assert!(Store::open(dir.path(), &encoder("fp32/test")).is_ok());
}

#[test]
fn a_damaged_part_is_passed_over_named_and_collected() {
    let dir = tempfile::tempdir().unwrap();
    let paths = store_of(dir.path(), &["a", "b", "c"]);
    flip_a_byte(&paths[1]);
    let cut = fs::read(&paths[2]).unwrap();
    fs::write(&paths[2], &cut[..cut.len() / 2]).unwrap();
    let mut damaged = paths[1..].to_vec();
    damaged.sort();
    let reader = open(dir.path());
    assert_eq!(known(&reader, &["a", "b", "c"]), ["a"]);
    assert_eq!(reader.damaged(), damaged);
    drop(reader);
    let verified = verify(dir.path()).unwrap();
    assert_eq!((verified.parts, verified.damaged), (3, damaged));
    assert_eq!(list(dir.path()).unwrap()[0].unreadable, 1);
    let done = gc(dir.path(), Limits::default()).unwrap();
    assert_eq!((done.damaged, done.parts_left, done.old, done.over_size), (2, 1, 0, 0));
    assert!(verify(dir.path()).unwrap().damaged.is_empty());
}

#[test]
fn what_a_killed_writer_left_is_no_part_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let paths = store_of(dir.path(), &["a"]);
    let leftover = paths[0].with_file_name("_x1.parquet");
    fs::copy(&paths[0], &leftover).unwrap();
    assert_eq!(list(dir.path()).unwrap()[0].parts, 1);
    assert!(verify(dir.path()).unwrap().damaged.is_empty());
    assert_eq!(gc(dir.path(), Limits::default()).unwrap().leftovers, 1);
    assert!(!leftover.exists() && paths[0].exists());
}

#[test]
fn parts_go_by_age_and_the_oldest_by_size() {
    let dir = tempfile::tempdir().unwrap();
    // Written 4, 3, 2 and 1 minutes ago.
    let paths = store_of(dir.path(), &["a", "b", "c", "d"]);
    let bytes = fs::metadata(&paths[0]).unwrap().len();
    let limits = Limits { older_than: Some(Duration::from_secs(200)), max_bytes: Some(2 * bytes + bytes / 2) };
    let done = gc(dir.path(), limits).unwrap();
    assert_eq!((done.old, done.over_size, done.parts_left), (1, 1, 2));
    assert_eq!(paths.iter().map(|path| path.exists()).collect::<Vec<_>>(), [false, false, true, true]);
    assert_eq!(done.bytes_left, paths[2..].iter().map(|path| fs::metadata(path).unwrap().len()).sum::<u64>());
}

#[test]
fn many_parts_become_one_that_answers_for_all_even_after_a_kill_in_between() {
    let dir = tempfile::tempdir().unwrap();
    let paths = store_of(dir.path(), &["a", "b", "c"]);
    let saved: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let done = compact(dir.path()).unwrap();
    assert_eq!((done.parts_before, done.parts_after, done.duplicates, done.damaged), (3, 1, 0, 0));
    assert!(verify(dir.path()).unwrap().damaged.is_empty());
    assert_eq!(known(&open(dir.path()), &["c", "a", "x", "b"]), ["a", "b", "c"]);
    // As old as the youngest of them.
    let parts = sealed(&paths[0].with_file_name("")).unwrap();
    let age = SystemTime::now().duration_since(fs::metadata(&parts[0].path).unwrap().modified().unwrap()).unwrap();
    assert!((55..120).contains(&age.as_secs()), "{age:?}");
    // Killed between sealing the new part and removing the old ones: they are all there.
    paths.iter().zip(&saved).for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    assert_eq!(known(&open(dir.path()), &["c", "a", "x", "b"]), ["a", "b", "c"]);
    let again = compact(dir.path()).unwrap();
    assert_eq!((again.parts_before, again.parts_after, again.duplicates), (4, 1, 3));
    assert_eq!(known(&open(dir.path()), &["c", "a", "x", "b"]), ["a", "b", "c"]);
    let nothing = compact(dir.path()).unwrap();
    assert_eq!((nothing.parts_before, nothing.parts_after), (1, 1));
}

#[test]
fn compact_leaves_a_damaged_part_to_gc() {
    let dir = tempfile::tempdir().unwrap();
    let paths = store_of(dir.path(), &["a", "b", "c"]);
    flip_a_byte(&paths[0]);
    let done = compact(dir.path()).unwrap();
    assert_eq!((done.parts_before, done.parts_after, done.damaged), (3, 2, 1));
    assert_eq!(verify(dir.path()).unwrap().damaged, [paths[0].clone()]);
}

#[test]
fn nothing_is_taken_away_while_a_run_reads() {
    let dir = tempfile::tempdir().unwrap();
    store_of(dir.path(), &["a", "b"]);
    let reader = open(dir.path());
    assert!(matches!(compact(dir.path()), Err(Error::StoreInUse { .. })));
    assert!(matches!(gc(dir.path(), Limits::default()), Err(Error::StoreInUse { .. })));
    assert!(verify(dir.path()).unwrap().damaged.is_empty());
    assert_eq!(known(&reader, &["a", "b"]), ["a", "b"]);
    drop(reader);
    assert_eq!(compact(dir.path()).unwrap().parts_after, 1);
}

#[test]
fn no_flipped_bit_gives_a_text_another_ones_vector_or_ends_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let paths = store_of(dir.path(), &["a", "b", "c"]);
    let mut sorted = paths.clone();
    sorted.sort();
    // The first by name, so that the rows of the others are counted from its own.
    let whole = fs::read(&sorted[0]).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&sorted[0], bytes).unwrap();
        // `known` compares vectors and tokens.
        assert_eq!(known(&open(dir.path()), &["a", "b", "c"]).len(), 2, "byte {at}");
    }
}

#[test]
fn a_part_that_is_replaced_while_a_run_reads_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let paths = store_of(dir.path(), &["a", "b"]);
    let reader = open(dir.path());
    assert_eq!(known(&reader, &["a"]), ["a"]);
    fs::copy(&paths[1], &paths[0]).unwrap();
    assert!(matches!(reader.fetch(&[Key::of("a")]), Err(Error::PartChanged { .. })));
}

#[test]
fn a_part_of_another_encoder_is_never_used_wherever_it_lies() {
    let dir = tempfile::tempdir().unwrap();
    let paths = store_of(dir.path(), &["a", "b"]);
    let other = Known::open(WIDTH, &[], Some(Store::open(dir.path(), &encoder("bf16/test")).unwrap())).unwrap();
    add(&other, &["c"]);
    let theirs = other.store().unwrap().parts().unwrap()[0].path.clone();
    let here = paths[0].with_file_name(theirs.file_name().unwrap());
    fs::copy(&theirs, &here).unwrap();
    drop(other);
    let foreign = vec![here];
    let reader = open(dir.path());
    assert_eq!(known(&reader, &["a", "b", "c"]), ["a", "b"]);
    assert_eq!(reader.damaged(), foreign);
    drop(reader);
    assert_eq!(verify(dir.path()).unwrap().damaged, foreign);
    assert_eq!(compact(dir.path()).unwrap().damaged, 1);
    assert_eq!(known(&open(dir.path()), &["a", "b", "c"]), ["a", "b"]);
}

#[test]
fn a_text_of_a_damaged_part_is_added_once_and_then_known() {
    let dir = tempfile::tempdir().unwrap();
    let paths = store_of(dir.path(), &["a", "b"]);
    flip_a_byte(&paths[0]);
    let reader = open(dir.path());
    assert_eq!(known(&reader, &["a", "b"]), ["b"]);
    add(&reader, &["a", "d"]);
    assert_eq!(known(&reader, &["a", "b"]), ["a", "b"]);
}

#[test]
fn damaged_parts_take_no_room_from_whole_ones() {
    let dir = tempfile::tempdir().unwrap();
    let paths = store_of(dir.path(), &["a", "b"]);
    let modified = fs::metadata(&paths[1]).unwrap().modified().unwrap();
    flip_a_byte(&paths[1]);
    std::fs::File::options().write(true).open(&paths[1]).unwrap().set_modified(modified).unwrap();
    let limits = Limits { max_bytes: Some(fs::metadata(&paths[0]).unwrap().len()), older_than: None };
    let done = gc(dir.path(), limits).unwrap();
    assert_eq!((done.damaged, done.over_size, done.parts_left), (1, 0, 1));
}

#[test]
fn a_store_of_another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    store_of(dir.path(), &["a"]);
    fs::write(dir.path().join(MARKER), "{\"store\": 99}").unwrap();
    assert!(matches!(Store::open(dir.path(), &encoder("fp32/test")), Err(Error::StoreFormat { .. })));
    assert!(matches!(list(dir.path()), Err(Error::StoreFormat { .. })));
}
