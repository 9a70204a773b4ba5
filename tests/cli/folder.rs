//! Whatever is in the folder: archives, encodings, damage, and files that are no reviews.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, Int64Array, LargeStringArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::datasets::{ordinals, read, strings, texts};
use super::support::{Place, model};

type Files<'a> = &'a [(&'a str, &'a [u8])];

/// Reviews in two classes, beside what else an archive may hold.
const TREE: Files<'static> = &[
    ("./pos/1.txt", b"a fine film"),
    ("./pos/2.txt", b"lovely"),
    ("./neg/1.txt", b"dull"),
    ("./.DS_Store", b"x"),
    ("./__MACOSX/pos/._1.txt", b"x"),
    ("./cover.jpg", b"x"),
];

fn zip(files: Files) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut bytes);
    for (name, content) in files {
        let method = rawzip::CompressionMethod::DEFLATE;
        let (mut entry, config) = archive.new_file(*name).compression_method(method).start().unwrap();
        let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::default());
        let mut writer = config.wrap(encoder);
        writer.write_all(content).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    bytes
}

fn tar(files: Files) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

fn gz(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn bz2(content: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn xz(content: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn some(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| Some((*value).to_owned())).collect()
}

#[test]
fn an_archive_is_read_as_the_folder_that_was_packed() {
    let place = Place::new();
    let plain = tar(TREE);
    place.write("in.zip", zip(TREE));
    place.write("in.tar", &plain);
    place.write("in.tgz", gz(&plain));
    place.write("in.tar.bz2", bz2(&plain));
    place.write("in.tar.xz", xz(&plain));
    place.write("in.tar.zst", zstd::encode_all(plain.as_slice(), 3).unwrap());
    for archive in ["in.zip", "in.tar", "in.tgz", "in.tar.bz2", "in.tar.xz", "in.tar.zst"] {
        let out = format!("out-{archive}");
        place.run(&["ingest", archive, "--out", &out]).ok().says(&["__MACOSX", "cover.jpg"]);
        let reviews = read(&place, &format!("{out}/reviews"));
        assert_eq!(strings(&reviews, "text"), ["a fine film", "lovely", "dull"], "{archive}");
        assert_eq!(strings(&reviews, "label"), ["pos", "pos", "neg"], "{archive}");
        let names = ["pos/1.txt", "pos/2.txt", "neg/1.txt"].map(|name| format!("{archive}!/{name}"));
        assert_eq!(strings(&reviews, "source_file"), names);
        let skipped = &place.json(&format!("{out}/run.json"))["skipped"];
        assert_eq!(skipped["files"], 3, "{skipped}");
        assert_eq!(skipped["reasons"]["unknown extension"], 1, "{skipped}");
    }
}

#[test]
fn an_archive_in_a_folder_is_read_beside_its_neighbours() {
    let place = Place::new();
    place.write("in/a.csv", "text,label\nfirst,pos\n");
    place.write("in/b.zip", zip(&[("x/c.csv", b"text,label\nsecond,neg\n"), ("d.csv.gz", &gz(b"text\nthird\n"))]));
    place.write("in/e.csv.bz2", bz2(b"text\nfourth\n"));
    place.write("in/f.jsonl.xz", xz(b"{\"text\":\"fifth\"}\n"));
    place.run(&["ingest", "in", "--out", "out"]).ok();
    let reviews = read(&place, "out/reviews");
    assert_eq!(strings(&reviews, "text"), ["first", "second", "third", "fourth", "fifth"]);
    let files = ["in/a.csv", "in/b.zip!/x/c.csv", "in/b.zip!/d.csv.gz", "in/e.csv.bz2", "in/f.jsonl.xz"];
    assert_eq!(strings(&reviews, "source_file"), files);
    place.run(&["ingest", "in", "--out", "out"]).ok().says(&["finished already"]);
}

#[test]
fn hostile_archives_do_no_harm() {
    let place = Place::new();
    // A writer that follows the rules makes no such names.
    let mut climbing = zip(&[("xx/out.txt", b"climbs"), ("in.txt", b"stays")]);
    for at in 0..climbing.len() - 10 {
        if climbing[at..].starts_with(b"xx/out.txt") {
            climbing[at..at + 2].copy_from_slice(b"..");
        }
    }
    place.write("climbing.zip", climbing);
    place.run(&["ingest", "climbing.zip", "--out", "out"]).ok().says(&["climbs out of the archive"]);
    assert_eq!(strings(&read(&place, "out/reviews"), "text"), ["stays"]);
    let bomb = zstd::encode_all(std::io::Read::take(std::io::repeat(b'x'), 3 << 30), 1).unwrap();
    place.write("bomb.csv.zst", &bomb);
    let file = place.run(&["ingest", "bomb.csv.zst", "--text-column", "0", "--no-header", "--out", "none"]);
    file.fails(1, &["`bomb.csv.zst`", "200 times"]);
    place.write("bomb.zip", zip(&[("a.csv", b"text\nfine\n")]));
    let mut lying = fs_err::read(place.path("bomb.zip")).unwrap();
    let directory = lying.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    lying[directory + 24..directory + 28].copy_from_slice(&u32::to_le_bytes(3 << 30));
    place.write("bomb.zip", &lying);
    place.run(&["ingest", "bomb.zip", "--out", "none"]).fails(1, &["`bomb.zip`", "200 times"]);
    place.write("cut.zip", &lying[..lying.len() - 30]);
    place.run(&["ingest", "cut.zip", "--out", "none"]).fails(1, &["`cut.zip`", "cut off"]);
}

#[test]
fn a_file_in_another_encoding_is_read_in_it_and_the_run_says_so() {
    let place = Place::new();
    let csv = "text,label\nle café est très bon,pos\n“dull” – isn’t it,neg\n";
    place.write("in.csv", encoding_rs::WINDOWS_1252.encode(csv).0);
    place.write("utf16.csv", csv.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    for (file, encoding) in [("in.csv", "windows-1252"), ("utf16.csv", "UTF-16LE")] {
        let out = format!("out-{file}");
        place.run(&["ingest", file, "--out", &out]).ok().says(&[encoding, "--encoding"]);
        assert_eq!(
            texts(&read(&place, &format!("{out}/reviews")), "text"),
            some(&["le café est très bon", "“dull” – isn’t it"])
        );
        let run = place.json(&format!("{out}/run.json"));
        assert_eq!((&run["encodings"][0]["encoding"], &run["encodings"][0]["first"]), (&encoding.into(), &file.into()));
    }
    place.run(&["ingest", "in.csv", "--encoding", "utf-8", "--max-reject-share", "1", "--out", "utf8"]).ok();
    assert_eq!(strings(&read(&place, "utf8/rejects"), "reason"), ["invalid_utf8"; 2]);
    place.run(&["ingest", "in.csv", "--encoding", "klingon", "--out", "none"]).fails(2, &["klingon", "windows-1252"]);
}

#[test]
fn broken_bytes_in_utf8_cost_their_rows_alone() {
    let place = Place::new();
    let mut csv = "text\n".to_owned().into_bytes();
    for row in 0..50 {
        csv.extend(format!("größe und café, Nr. {row}\n").replace(',', "").as_bytes());
        if row % 20 == 7 {
            csv.extend(b"caf\xe9 and a \xff byte\n");
        }
    }
    place.write("in.csv", csv);
    let ran = place.run(&["ingest", "in.csv", "--max-reject-share", "1", "--out", "out"]).ok();
    assert!(!ran.stderr.contains("windows-1252"), "{}", ran.stderr);
    assert_eq!(read(&place, "out/reviews").num_rows(), 50);
    let rejects = read(&place, "out/rejects");
    assert_eq!(
        (strings(&rejects, "reason"), ordinals(&rejects)),
        (vec!["invalid_utf8".to_owned(); 3], vec![8, 29, 50])
    );
    assert!(place.json("out/run.json")["encodings"].is_null());
}

#[test]
fn one_odd_byte_at_the_start_garbles_nothing_far_behind_it() {
    let place = Place::new();
    let plain = "a plain ascii review that is nice,pos\n".repeat(30_000);
    let utf8 = [b"text,label\ncaf\xe9 here,pos\n", plain.as_bytes(), "déjà vu,neg\n".repeat(50).as_bytes()].concat();
    let latin = encoding_rs::WINDOWS_1252.encode(&format!("text,label\ncafé,pos\n{plain}déjà vu,neg\n")).0.into_owned();
    let lines: Vec<u8> = utf8.split_inclusive(|byte| *byte == b'\n').skip(1).flatten().copied().collect();
    for (file, bytes, n_rows) in [
        ("in.csv", utf8.clone(), 30_050),
        ("in.csv.gz", gz(&utf8), 30_050),
        ("in.zip", zip(&[("in.csv", &utf8)]), 30_050),
        ("in.tar.gz", gz(&tar(&[("in.csv", &utf8)])), 30_050),
        ("lines.txt", lines, 30_050),
        ("latin.csv", latin, 30_002),
    ] {
        place.write(file, bytes);
        let out = format!("out-{file}");
        let ran = place.run(&["ingest", file, "--out", &out]).ok();
        assert_eq!(ran.stderr.contains("windows-1252"), file == "latin.csv", "{file}: {}", ran.stderr);
        let all = texts(&read(&place, &format!("{out}/reviews")), "text");
        assert!(all.last().unwrap().as_ref().unwrap().starts_with("déjà vu"), "{file}: {:?}", all.last());
        assert_eq!(all.len(), n_rows, "{file}");
    }
}

#[test]
fn a_broken_byte_in_an_encoding_of_east_asia_costs_its_row_alone() {
    let place = Place::new();
    let csv = format!("text,label\n{}", "とても良い映画でした,pos\n".repeat(2000));
    place.write("in.csv", [&encoding_rs::SHIFT_JIS.encode(&csv).0, b"ab\x83,neg\n".as_slice()].concat());
    place.run(&["ingest", "in.csv", "--out", "out"]).ok().says(&["Shift_JIS"]);
    assert_eq!(texts(&read(&place, "out/reviews"), "text"), some(&["とても良い映画でした"; 2000]));
    assert_eq!(ordinals(&read(&place, "out/rejects")), [2000]);
}

#[test]
fn encodings_whose_bytes_pass_for_utf8_are_told() {
    let place = Place::new();
    let csv = "text,label\nОчень хороший фильм,pos\nПлохо и скучно,neg\n";
    place.write("u16.csv", csv.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    place.run(&["ingest", "u16.csv", "--out", "u16"]).ok().says(&["UTF-16LE"]);
    assert_eq!(texts(&read(&place, "u16/reviews"), "text"), some(&["Очень хороший фильм", "Плохо и скучно"]));
    place.write("u32.csv", csv.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect::<Vec<u8>>());
    place.run(&["ingest", "u32.csv", "--out", "u32"]).fails(1, &["UTF-32", "iconv", "--encoding"]);
    place.write("jis.csv", encoding_rs::ISO_2022_JP.encode("text\nとても良い映画\n").0);
    place.run(&["ingest", "jis.csv", "--out", "jis"]).ok().says(&["ISO-2022-JP"]);
    assert_eq!(texts(&read(&place, "jis/reviews"), "text"), some(&["とても良い映画"]));
}

#[test]
fn a_json_array_is_read_element_by_element() {
    let place = Place::new();
    let array = "[\n {\"text\": \"first\", \"label\": 1},\n {\"text\": \"un\"closed\"},\n {\"text\": \"thi,]rd\"}, 7,\n {\"text\":";
    place.write("in/a.json", array);
    place.write("in/package.json", "{\n\"name\": \"x\"\n}");
    place.run(&["ingest", "in", "--max-reject-share", "1", "--out", "out"]).ok().says(&["package.json"]);
    let reviews = read(&place, "out/reviews");
    assert_eq!(
        (strings(&reviews, "text"), ordinals(&reviews)),
        (vec!["first".to_owned(), "thi,]rd".to_owned()], vec![0, 2])
    );
    let rejects = read(&place, "out/rejects");
    assert_eq!((strings(&rejects, "reason"), ordinals(&rejects)), (vec!["bad_json".to_owned(); 3], vec![1, 3, 4]));
    assert!(strings(&rejects, "detail")[2].contains("cut off"));
}

#[test]
fn a_stray_quote_costs_its_row_alone() {
    let place = Place::new();
    place.write("in.csv", "text,label\n\"stray,pos\nfine,neg\r\n\"quoted, too\",pos\nlast,neg\n");
    place.run(&["ingest", "in.csv", "--max-reject-share", "1", "--out", "out"]).ok();
    assert_eq!(strings(&read(&place, "out/reviews"), "text"), ["fine", "quoted, too", "last"]);
    let rejects = read(&place, "out/rejects");
    assert_eq!((strings(&rejects, "reason"), ordinals(&rejects)), (vec!["unterminated_quote".to_owned()], vec![0]));
}

#[test]
fn a_table_without_text_beside_reviews_is_passed_over_and_alone_it_is_an_error() {
    let place = Place::new();
    place.write("in/products.csv", "product,price\nlamp,3\nchair,40\n");
    place.run(&["ingest", "in", "--out", "out"]).fails(2, &["`product`", "--text-column"]);
    place.write("in/reviews.csv", "text\nfine\n");
    place.run(&["ingest", "in", "--out", "out"]).ok().says(&["in/products.csv", "without a text column"]);
    assert_eq!(strings(&read(&place, "out/reviews"), "text"), ["fine"]);
}

fn write_parquet(place: &Place, name: &str, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    let path = place.path(name);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(2)).build();
    let file = fs_err::File::create(path).unwrap().into_file();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn bytes_in_parquet_that_are_no_text_are_rejects() {
    let place = Place::new();
    let text: ArrayRef =
        Arc::new(BinaryArray::from(vec![Some(b"fine".as_slice()), Some(b"bro\xffken"), None, Some(b"good")]));
    write_parquet(&place, "in.parquet", vec![("text", text)]);
    place.run(&["ingest", "in.parquet", "--max-reject-share", "1", "--out", "out"]).ok();
    assert_eq!(texts(&read(&place, "out/reviews"), "text"), [Some("fine".into()), None, Some("good".into())]);
    let rejects = read(&place, "out/rejects");
    assert_eq!((strings(&rejects, "reason"), ordinals(&rejects)), (vec!["invalid_utf8".to_owned()], vec![1]));
    let Some(model) = model() else { return };
    place.embed(&model, &["in.parquet", "--max-reject-share", "1", "--out", "features"]);
    assert_eq!(strings(&read(&place, "features/rejects"), "reason"), ["invalid_utf8", "missing_text"]);
}

#[test]
fn parquet_files_of_several_schemas_are_read_together() {
    let place = Place::new();
    let plain: ArrayRef = Arc::new(StringArray::from(vec!["one", "two", "three"]));
    let dictionary = cast(&plain, &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))).unwrap();
    let large: ArrayRef = Arc::new(LargeStringArray::from(vec!["four"]));
    let stars: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), None, Some(1)]));
    write_parquet(&place, "in/a.parquet", vec![("text", dictionary), ("label", stars)]);
    write_parquet(&place, "in/b.parquet", vec![("review", large.clone()), ("label", large.clone()), ("id", large)]);
    write_parquet(
        &place,
        "in/c.parquet",
        vec![("id", Arc::new(Int64Array::from(vec![7]))), ("text", plain.slice(0, 1))],
    );
    place.run(&["ingest", "in", "--keep-columns", "id", "--out", "out"]).ok();
    let reviews = read(&place, "out/reviews");
    assert_eq!(strings(&reviews, "text"), ["one", "two", "three", "four", "one"]);
    let label = |label: &str| Some(label.to_owned());
    assert_eq!(texts(&reviews, "label"), [label("5"), None, label("1"), label("four"), None]);
    assert_eq!(texts(&reviews, "id"), [None, None, None, label("four"), label("7")]);
}

#[test]
fn a_damaged_parquet_page_costs_its_rows_and_not_those_of_other_row_groups() {
    let place = Place::new();
    let text: ArrayRef = Arc::new(StringArray::from_iter_values((0..4).map(|row| format!("text number {row}"))));
    write_parquet(&place, "in.parquet", vec![("text", text)]);
    let whole = fs_err::read(place.path("in.parquet")).unwrap();
    let at = whole.windows(13).position(|window| window == b"text number 0").unwrap();
    for damage in [4..at - 4, at - 4..at, at..at + 13] {
        let mut bytes = whole.clone();
        bytes[damage.clone()].iter_mut().for_each(|byte| *byte ^= 0xff);
        place.write("in.parquet", bytes);
        let ingest = ["ingest", "in.parquet", "--overwrite", "--out", "out"];
        let ran = place.run(&ingest).fails(1, &["2 of 4 rows", "corrupt_page 2"]);
        assert!(!ran.stderr.contains("panicked"), "{damage:?}: {}", ran.stderr);
    }
}
