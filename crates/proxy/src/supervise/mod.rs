//! Keeps the wanted instances of every release running, beside the data plane.
