//! Text that is compiled again.

use prost_types::FileDescriptorSet;

use super::*;
use crate::Catalogue;
use crate::catalogue::tests::compiled;

/// Compiles the text of a schema and returns what it is then.
fn again(files: &FileDescriptorSet) -> Catalogue {
    let texts: Vec<_> = files.file.iter().filter(|file| !crate::types::is_well_known(file)).collect();
    let texts: Vec<_> = texts.into_iter().map(|file| (file.name().to_owned(), source(file))).collect();
    compiled(&texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>())
}

#[test]
fn text_is_the_same_schema_when_it_is_compiled() {
    let text = r#"
        syntax = "proto3";
        package shop.v1;
        import "google/protobuf/timestamp.proto";
        message Order {
          reserved 20, 22 to 24;
          reserved "gone";
          message Line { string product = 1; optional int64 count = 2; enum Kind { A = 0; B = -1; } Kind kind = 3; }
          string id = 1;
          repeated Line lines = 2;
          google.protobuf.Timestamp time = 3;
          map<string, Line> by_name = 4;
          oneof event { string a = 5; State b = 6; }
          repeated int32 numbers = 7 [packed = false];
          oneof other { bytes c = 8; double d = 9; }
        }
        enum State { option allow_alias = true; reserved 7, 9 to 11; NEW = 0; OLD = 1; PAST = 1; }
    "#;
    let order = compiled(&[("shop/v1/order.proto", text)]).describe("shop.v1.Order").unwrap();
    assert_eq!(
        again(&order.files).describe("shop.v1.Order").unwrap(),
        order,
        "{}",
        source(order.files.file.last().unwrap())
    );
}

#[test]
fn every_message_of_the_mesh_can_be_written_as_text() {
    let ours = Catalogue::new(proto::FILE_DESCRIPTOR_SET).unwrap();
    for message in
        ["ordermesh.orders.v1.OrderEvent", "ordermesh.catalog.v1.BookEvent", "ordermesh.mesh.v1.SchemaRegistered"]
    {
        let described = ours.describe(message).unwrap();
        assert_eq!(again(&described.files).describe(message).unwrap(), described);
    }
}
