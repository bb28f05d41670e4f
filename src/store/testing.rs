//! Golden files: bytes as some version wrote them once. They are read by every later one, so they
//! are added and never changed.

use std::{fs, path::PathBuf};

/// Holds a folder of `tests/golden`: what is written today has the bytes that stand there, and each
/// file there reads as the text beside it says.
pub(crate) fn check_golden(
    folder: &str,
    today: &[(&str, Vec<u8>)],
    read: impl Fn(&[u8]) -> String,
) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    for (name, bytes) in today {
        let path = folder.join(name).with_extension("bin");
        match fs::read(&path) {
            Ok(golden) => assert_eq!(&golden, bytes, "{name} is written otherwise today"),
            Err(_) if may_add() => {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&path, bytes).unwrap();
            }
            Err(error) => panic!("{}: {error}; add it by UPDATE_EXPECT=1", path.display()),
        }
    }
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "bin") {
            let text = read(&fs::read(&path).unwrap());
            expect_test::expect_file![path.with_extension("txt")].assert_eq(&text);
            count += 1;
        }
    }
    assert!(count >= today.len(), "every kind has its file");
}

#[expect(clippy::disallowed_methods, reason = "the same switch as for snapshots")]
fn may_add() -> bool {
    std::env::var("UPDATE_EXPECT").is_ok_and(|value| value == "1")
}
