//! What `make pack-gpu` makes, unpacked and run as on a machine with a GPU and no network; here without a GPU, and with
//! contents so small that it takes seconds.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{Place, Ran, project};
use super::tiny::tiny_bert_of_letters;

/// Libraries of CUDA as a Python with torch has them, and where.
const NVIDIA: [&str; 5] = [
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcublasLt.so.13",
    "nvidia/cu13/lib/libcublas.so.13",
    "nvidia/cu13/lib/libcurand.so.10",
    "nvidia/cudnn/lib/libcudnn.so.9",
];

/// A folder with a pack in `pack/`, and `site/` as the packages of a Python.
struct Packed(Place);

impl Packed {
    fn new() -> Packed {
        let place = Place::new();
        tiny_bert_of_letters(&place.path("model"));
        for review in 0..8 {
            place.write(&format!("reviews/{review}.txt"), format!("a fine film of its kind, the {review}th"));
        }
        // The binary is what the test has built, from where it lies; its libraries are the project's, without CUDA's.
        fs_err::create_dir_all(place.path("libraries")).unwrap();
        for name in ["onnxruntime", "libtorch"] {
            let from = project(&format!(".native/{name}"));
            fs_err::os::unix::fs::symlink(from, place.path("libraries").join(name)).unwrap();
        }
        let (binary, libraries) = (env!("CARGO_BIN_EXE_bertline"), place.path("libraries"));
        let script = format!("#!/bin/sh\nBERTLINE_LIB_DIR='{}' exec '{binary}' \"$@\"\n", libraries.display());
        place.write("bertline", script);
        executable(&place.path("bertline"));
        for name in ["libonnxruntime.so.1", "libonnxruntime_providers_cuda.so", "libcublas.so.13", "libcudnn.so.9"] {
            place.write(&format!("native/onnxruntime-cuda/{name}"), noise(name, 100_000));
        }
        for library in NVIDIA {
            place.write(&format!("site/{library}"), "a library of the Python there");
        }
        let packed = Packed(place);
        packed.make().ok();
        packed
    }

    fn make(&self) -> Ran {
        let mut command = self.0.program(Path::new(&project(".ci/pack-gpu")), &[]);
        for (name, relative) in
            [("BERTLINE", "bertline"), ("NATIVE", "native"), ("MODEL", "model"), ("DATA", "reviews")]
        {
            command.env(name, self.0.path(relative));
        }
        command.env("OUT", self.0.path("pack")).env("ONLY", "MiniLM").env("PIECE_BYTES", "250000");
        run(&mut command)
    }

    /// `pack/unpack` in the folder `there`, by a Python that has the packages of `site`.
    fn unpack(&self, there: &str, site: &str) -> Ran {
        fs_err::create_dir_all(self.0.path(there)).unwrap();
        let mut command = self.0.program(&self.0.path("pack/unpack"), &[]);
        run(command.current_dir(self.0.path(there)).env("PYTHONPATH", self.0.path(site)).env_remove("CHECK_PYTHON"))
    }

    fn check(&self, there: &str, arguments: &[&str]) -> Ran {
        let mut command = self.0.program(&self.0.path(&format!("{there}/bertline-gpu/check")), arguments);
        run(command.current_dir(self.0.path(there)).env_remove("OUT").env_remove("CHECK_PYTHON"))
    }

    fn pieces(&self) -> Vec<PathBuf> {
        let files = self.0.files("pack").into_iter().map(|(path, _)| path);
        files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("piece-")).collect()
    }
}

fn run(command: &mut Command) -> Ran {
    Ran::of(&command.output().unwrap())
}

fn executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Bytes that do not compress.
fn noise(seed: &str, bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut noise);
    noise
}

#[test]
fn a_pack_for_a_gpu_unpacks_links_cuda_and_runs_the_check() {
    let packed = Packed::new();
    let place = &packed.0;
    let pieces = packed.pieces();
    assert!(pieces.len() >= 3, "{pieces:?}");
    assert!(pieces.iter().all(|piece| fs_err::metadata(piece).unwrap().len() <= 250_000));

    packed
        .unpack("there", "site")
        .ok()
        .says(&["libcudart.so.13, libcublasLt.so.13, libcublas.so.13, libcurand.so.10 are those of"]);
    let libraries = place.path("there/bertline-gpu/lib/bertline/onnxruntime-cuda");
    for library in NVIDIA {
        let link = libraries.join(Path::new(library).file_name().unwrap());
        assert_eq!(fs_err::read_link(link).unwrap(), place.path("site").canonicalize().unwrap().join(library));
    }
    let whole = fs_err::read(libraries.join("libonnxruntime_providers_cuda.so")).unwrap();
    assert_eq!(whole, noise("libonnxruntime_providers_cuda.so", 100_000));

    packed.check("there", &["--dry", "--only", "MiniLM", "--limit", "4"]).ok();
    let table = fs_err::read_to_string(place.path("there/gpu-check.md")).unwrap();
    let line = |what: &str| table.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {table}"));
    assert!(line("fp16 on the CPU against fp32").ends_with("of 4 texts | met |"), "{table}");
    assert!(line("each text alone").ends_with("| met |") && line("ready-made: fp32").ends_with("| met |"), "{table}");
    assert!(line("out of memory").contains("4 rows in, 4 out, 0 rejected"), "{table}");
    assert!(line("the whole `score`").contains("4 rows in") && line("default plan").contains("dry"), "{table}");
    // By operator, from ONNX Runtime's own profile.
    assert!(line("dearest operator").contains("micro-batches") && line("  MatMul").contains("TFLOP/s"), "{table}");
    assert!(line("`train` by CPU and GPU").contains("ALL=1"), "{table}");

    // Without CUDA's libraries in the Python there, and without a GPU: both are said, and the CPU's half is measured.
    packed.unpack("bare", "empty").ok().says(&["warning", "libcudart.so.13, libcublasLt.so.13", "CHECK_PYTHON"]);
    let ran = packed.check("bare", &["--only", "MiniLM", "--steps", "d"]);
    let ran = ran.fails(1, &["device cuda needs the CUDA build"]);
    for said in ["| not met: bertline embed: device cuda", "of 8 texts | met |", "8 rows in", "does not load: "] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    assert!(fs_err::read_to_string(place.path("bare/gpu-check.log")).unwrap().contains("libcudart.so.13: cannot open"));
}

#[test]
fn a_pack_that_is_not_whole_is_refused_by_name_before_anything_is_written() {
    let packed = Packed::new();
    let pieces = packed.pieces();
    let mut damaged = fs_err::read(&pieces[1]).unwrap();
    damaged[1000] ^= 1;
    fs_err::write(&pieces[1], damaged).unwrap();
    fs_err::remove_file(&pieces[2]).unwrap();
    packed.unpack("there", "site").fails(1, &["piece-001 is damaged", "piece-002 is missing", "copy them into"]);
    assert!(packed.0.files("there").is_empty());

    packed.make().ok();
    packed.0.write("there/bertline-gpu/mine", "something else");
    packed.unpack("there", "site").fails(1, &["`bertline-gpu` is there and was not unpacked from a pack"]);
    fs_err::remove_dir_all(packed.0.path("there/bertline-gpu")).unwrap();
    packed.unpack("there", "site").ok();
    // The next pack takes its place.
    packed.unpack("there", "site").ok();
    assert_eq!(packed.0.files("there").iter().filter(|(path, _)| path.ends_with("check")).count(), 1);
}
