//! What a process answers, as its compiled proto files say it: for routing, reflection, schemas and the names of metrics.

use std::collections::BTreeSet;

use prost::Message;

/// The compiled proto files of the mesh, and those of services that a program adds to it. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    sets: Vec<&'static [u8]>,
}

/// A `FileDescriptorSet` whose files stay as they were written: their decoded form would lose custom options.
#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<bytes::Bytes>,
}

/// The name of a file, and nothing else of it.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

impl Api {
    /// The mesh's own.
    #[must_use]
    pub fn of_the_mesh() -> Self {
        Self { sets: vec![proto::FILE_DESCRIPTOR_SET] }
    }

    /// With the serialised `FileDescriptorSet` of another service, which may hold files that are here already.
    #[must_use]
    pub fn and(mut self, descriptors: &'static [u8]) -> Self {
        self.sets.push(descriptors);
        self
    }

    /// Each set by itself.
    pub fn sets(&self) -> impl Iterator<Item = &'static [u8]> {
        self.sets.iter().copied()
    }

    /// All as one serialised `FileDescriptorSet`, in which each file stands once: the first that has its name.
    ///
    /// # Errors
    /// One of the sets is none.
    pub fn merged(&self) -> Result<Vec<u8>, prost::DecodeError> {
        let mut seen = BTreeSet::new();
        let mut merged = Files::default();
        for set in &self.sets {
            for file in Files::decode(*set)?.file {
                if seen.insert(Named::decode(file.clone())?.name) {
                    merged.file.push(file);
                }
            }
        }
        Ok(merged.encode_to_vec())
    }
}

#[cfg(test)]
mod tests {
    use prost_types::{FileDescriptorProto, FileDescriptorSet};

    use super::*;

    fn leaked(names: &[&str]) -> &'static [u8] {
        let file = |name: &&str| FileDescriptorProto { name: Some((*name).to_owned()), ..Default::default() };
        FileDescriptorSet { file: names.iter().map(file).collect() }.encode_to_vec().leak()
    }

    #[test]
    fn files_that_several_sets_have_stand_in_the_whole_once() {
        let api = Api { sets: vec![leaked(&["time.proto", "a.proto"])] }.and(leaked(&["time.proto", "b.proto"]));
        let merged = FileDescriptorSet::decode(api.merged().unwrap().as_slice()).unwrap();
        let names: Vec<&str> = merged.file.iter().map(FileDescriptorProto::name).collect();
        assert_eq!(names, ["time.proto", "a.proto", "b.proto"]);
    }

    #[test]
    fn the_api_of_the_mesh_alone_stays_as_it_was_compiled() {
        assert_eq!(Api::of_the_mesh().merged().unwrap(), proto::FILE_DESCRIPTOR_SET);
    }

    #[test]
    fn what_is_no_set_of_files_is_refused() {
        assert!(Api::of_the_mesh().and(b"\xff").merged().is_err());
    }
}
