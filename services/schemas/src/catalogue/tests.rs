//! Schemas that are cut out of small files.

use super::*;

/// Compiles files that may import each other.
pub(crate) fn compiled(files: &[(&str, &str)]) -> Catalogue {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut compiler = protox::Compiler::new([directory.path()]).unwrap();
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(files.iter().map(|(name, _)| directory.path().join(name))).unwrap();
    Catalogue::new(&compiler.encode_file_descriptor_set()).unwrap()
}

/// A message of a file in the package `shop`.
pub(crate) fn described(message: &str, text: &str) -> Described {
    let text = format!("syntax = \"proto3\"; package shop; {text}");
    compiled(&[("shop.proto", &text)]).describe(message).unwrap()
}

#[test]
fn what_does_not_matter_to_bytes_does_not_matter() {
    let plain = described("shop.Order", "message Order { string id = 1; State state = 2; } enum State { NEW = 0; }");
    for same in [
        "// An order.\nmessage Order { /* Its id. */ string id = 1; State state = 2; } enum State { NEW = 0; }",
        "enum State { NEW = 0; } message Order { State state = 2; string id = 1; }",
        "message Order { string id = 1 [deprecated = true]; State state = 2; } enum State { NEW = 0; } message Other {}",
        "message Order { string id = 1; State state = 2; } enum State { NEW = 0; } service Orders { rpc Get(Order) returns (Order); }",
        "option java_package = \"x\"; message Order { string id = 1; State state = 2; } enum State { NEW = 0; }",
    ] {
        assert_eq!(described("shop.Order", same), plain, "{same}");
    }
    for other in [
        "message Order { string id = 1; State state = 3; } enum State { NEW = 0; }",
        "message Order { string id = 1; State state = 2; } enum State { NEW = 0; OLD = 1; }",
        "message Order { string id = 1; State state = 2; int32 n = 3; } enum State { NEW = 0; }",
        "message Order { bytes id = 1; State state = 2; } enum State { NEW = 0; }",
        "message Order { string id = 1; State state = 2; reserved 3; } enum State { NEW = 0; }",
    ] {
        assert_ne!(described("shop.Order", other).fingerprint, plain.fingerprint, "{other}");
    }
}

#[test]
fn a_schema_has_the_files_that_it_needs_each_behind_its_imports() {
    let files = compiled(&[
        (
            "a.proto",
            "syntax = \"proto3\"; package shop; import \"z.proto\"; import \"m.proto\"; message Order { Money m = 1; } message X { Other o = 1; }",
        ),
        ("z.proto", "syntax = \"proto3\"; package shop; import \"m.proto\"; message Other { Money m = 1; }"),
        (
            "m.proto",
            "syntax = \"proto3\"; package shop; import \"google/protobuf/timestamp.proto\"; message Money { int64 n = 1; google.protobuf.Timestamp t = 2; } message Unused {}",
        ),
    ]);
    let names = |cut: &FileDescriptorSet| cut.file.iter().map(|file| file.name().to_owned()).collect::<Vec<_>>();
    let order = files.describe("shop.Order").unwrap();
    assert_eq!(names(&order.files), ["google/protobuf/timestamp.proto", "m.proto", "a.proto"]);
    assert_eq!(order.files.file[2].dependency, ["m.proto"], "without what only others import");
    let both = files.cut(["shop.Order", "shop.X"]).unwrap();
    assert_eq!(names(&both), ["google/protobuf/timestamp.proto", "m.proto", "z.proto", "a.proto"]);
    assert_eq!(both.file[1].message_type.len(), 1);
    assert_eq!(files.describe("shop.Nothing"), Err(UnknownMessage("shop.Nothing".to_owned())));
}
