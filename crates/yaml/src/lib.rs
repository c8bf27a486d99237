//! YAML as people write it: a tree that remembers where everything stood, what is wrong with a file and where, and what was
//! perhaps meant. It knows nothing of what the keys mean.

pub mod finding;
pub mod near;
pub mod tree;
