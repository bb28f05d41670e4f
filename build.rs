//! Compiles the protos to Rust and writes the descriptor sets, without `protoc`.

use std::{env, fs, path::PathBuf};

type Error = Box<dyn std::error::Error>;

const PUBLIC: &[&str] = &[
    "aap/v1/access_point_service.proto",
    "aap/v1/audit_record.proto",
    "aap/v1/audit_service.proto",
    "aap/v1/authorization_service.proto",
    "aap/v1/backup_service.proto",
    "aap/v1/change_service.proto",
    "aap/v1/decision.proto",
    "aap/v1/error_reason.proto",
    "aap/v1/policy_service.proto",
    "aap/v1/ram_role_service.proto",
    "aap/v1/session_service.proto",
];
/// Messages that have a secret in them.
const SECRET: [&str; 7] = [
    "aap.v1.CallerIdentity",
    "aap.v1.CreateSessionRequest",
    "aap.v1.CreateSessionRequest.proof",
    "aap.v1.IssueClientKeyRequest",
    "aap.v1.IssueClientKeyResponse",
    "aap.v1.Session",
    "aap.v1.SignedParameter",
];
const PRIVATE: &[&str] = &[
    "aap/store/v1/audit_cursor.proto",
    "aap/store/v1/event.proto",
    "aap/store/v1/segment.proto",
    "aap/store/v1/snapshot.proto",
];

fn main() -> Result<(), Error> {
    println!("cargo:rerun-if-changed=proto");
    let out = out_dir()?;

    let public = compiler(PUBLIC)?;
    fs::write(out.join("aap.v1.descriptor.bin"), public.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        // What is secret in them is never printed.
        .skip_debug(SECRET)
        .codec_path("crate::api::codec::StrictCodec")
        // Its content is the stored bytes, spliced in: see `api::audit_entry`.
        .extern_path(".aap.v1.AuditEntry", "crate::api::audit_entry::AuditEntry")
        .emit_rerun_if_changed(false)
        .compile_fds(public.file_descriptor_set())?;

    let private = compiler(PRIVATE)?.file_descriptor_set();
    tonic_prost_build::configure().emit_rerun_if_changed(false).compile_fds(private)?;
    Ok(())
}

fn compiler(files: &[&str]) -> Result<protox::Compiler, Error> {
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;
    Ok(compiler)
}

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script by the environment")]
fn out_dir() -> Result<PathBuf, Error> {
    Ok(PathBuf::from(env::var("OUT_DIR")?))
}
