//! Regular expressions that are written for others to match with.

use alloc::string::String;

/// Text as a regular expression that matches nothing else.
#[must_use]
pub fn literal(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for letter in text.chars() {
        if r"\.+*?()|[]{}^$".contains(letter) {
            written.push('\\');
        }
        written.push(letter);
    }
    written
}
