//! Files with a secret in them: read by nobody but their owner, made once, and never overwritten.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use zeroize::Zeroizing;

use super::data_dir::sync_directory;

/// Reads a secret; `None` if there is no such file. One that others may read is refused.
pub fn read(path: &Path) -> io::Result<Option<Zeroizing<String>>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        let problem =
            format!("it has mode {mode:03o}, which lets others in; run `chmod 600` on it");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
    }
    fs::read_to_string(path).map(|text| Some(Zeroizing::new(text)))
}

/// Makes a file with a secret. It is on disk when this returns, whole or not at all.
pub fn create(path: &Path, secret: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    if fs::exists(path)? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // Whoever calls this has the directory for itself.
    fs::rename(&unfinished, path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_for_its_owner_alone_and_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        assert!(read(&path).unwrap().is_none());
        create(&path, "secret").unwrap();
        assert_eq!(read(&path).unwrap().unwrap().as_str(), "secret");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let error = create(&path, "other").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&path).unwrap().unwrap().as_str(), "secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("mode 640"));
    }
}
