//! A Canary of Flagger's as a service.

use crate::{
    Options,
    difference::Report,
    objects::{Object, Objects},
    service::Draft,
};

pub(crate) fn draft<'a>(
    _: &'a Object<'a>,
    _: &'a Objects<'a>,
    _: &'a Options,
    _: &mut Report,
) -> Option<Draft> {
    None
}
