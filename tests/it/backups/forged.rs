//! Backups that somebody altered who can write all that nobody signed: the digests, what a backup says
//! of itself, and files that tell of a log.

use std::fs;

use aap::backup::{
    archive::{self, BLOCK, Block, Entry},
    head::{HEAD_FILE, SUMS_FILE, add_sum},
};
use ring::digest::{SHA256, digest};

use super::{backed_up, done, refused, stopped, text};

/// The files of a backup, in order, but for their digests.
fn unpacked(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    while let Some((block, rest)) = bytes.split_first_chunk::<BLOCK>()
        && let Block::Entry(Entry { name, size }) = archive::read(block).unwrap()
    {
        let length = usize::try_from(size).unwrap();
        files.push((name, rest[..length].to_vec()));
        bytes = &rest[length + usize::try_from(archive::padding(size)).unwrap()..];
    }
    files.retain(|(name, _)| name != SUMS_FILE);
    files
}

/// A backup of files, with digests that are right.
fn packed(mut files: Vec<(String, Vec<u8>)>) -> Vec<u8> {
    let mut sums = String::new();
    for (name, bytes) in &files {
        let digest = digest(&SHA256, bytes).as_ref().try_into().unwrap();
        add_sum(&mut sums, &digest, name);
    }
    files.push((SUMS_FILE.to_owned(), sums.into_bytes()));
    let mut archive = Vec::new();
    for (name, bytes) in files {
        archive.extend(archive::header(&name, bytes.len() as u64, 0).unwrap());
        archive.extend(&bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

/// The bytes of a file.
fn file<'a>(files: &'a mut [(String, Vec<u8>)], wanted: &str) -> &'a mut Vec<u8> {
    &mut files.iter_mut().find(|(name, _)| name == wanted).unwrap().1
}

/// Has a file say something else.
fn replace(bytes: &mut Vec<u8>, from: &str, to: &str) {
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.contains(from), "{text}");
    *bytes = text.replace(from, to).into_bytes();
}

#[tokio::test]
async fn what_nobody_signed_is_not_taken_for_what_the_key_that_is_given_has_signed() {
    let (setup, other) = (stopped().await, stopped().await);
    let dir = backed_up(&setup);
    let key_of = |data_dir| done(dir.path(), &["audit", "key", "--data-dir", text(data_dir)]);
    let (key, others) = (key_of(&setup.data_dir()), key_of(&other.data_dir()));
    fs::write(dir.path().join("keys"), format!("{others}{key}")).unwrap();
    let genuine = unpacked(&fs::read(dir.path().join("b")).unwrap());
    let judge = |files: &[(String, Vec<u8>)], wanted: Option<&str>| {
        fs::write(dir.path().join("forged"), packed(files.to_vec())).unwrap();
        let verify = ["backup", "verify", "forged", "--public-key"];
        let restore = ["restore", "--from", "forged", "--data-dir", "new", "--public-key"];
        let Some(wanted) = wanted else {
            for key in [key.trim_end(), "keys"] {
                let told = done(dir.path(), &[&verify[..], &[key]].concat());
                assert!(told.ends_with("it is whole\n") && told.contains("and so all"), "{told}");
            }
            return;
        };
        for words in [&verify[..], &restore] {
            for key in [key.trim_end(), "keys"] {
                let told = refused(dir.path(), &[words, &[key]].concat(), 1);
                assert!(told.contains(wanted) && !dir.path().join("new").exists(), "{told}");
            }
        }
    };
    judge(&genuine, None);

    // The key's name alone, without anything that it signed.
    let mut unsigned = genuine.clone();
    unsigned.retain(|(name, _)| !name.starts_with("audit/tree/"));
    judge(&unsigned, Some("`audit` is not signed"));
    let mut unsigned = genuine.clone();
    let head: serde_json::Value = serde_json::from_slice(file(&mut unsigned, HEAD_FILE)).unwrap();
    let note = serde_json::to_string(&head["journal"]["checkpoint"]).unwrap();
    replace(file(&mut unsigned, HEAD_FILE), &note, "null");
    judge(&unsigned, Some("its journal is not signed"));

    // A log that is said to have been given up, so that nobody wonders.
    let mut altered = genuine.clone();
    let segment = file(&mut altered, "audit/00000000000000000001.seg");
    let place = segment.windows(14).position(|window| window == b"GetSecretValue").unwrap();
    segment[place] ^= 1;
    altered.push(("audit/given-up".to_owned(), Vec::new()));
    judge(&altered, Some("`audit`: record "));

    // Another key that is said to have been the log's.
    let mut signed = genuine.clone();
    signed.push(("audit/former.key".to_owned(), others.into_bytes()));
    judge(&signed, Some("is what a log has that has ended"));
}
