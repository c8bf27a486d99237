//! The demonstration: a sample service, a load generator and the story that uses them.
