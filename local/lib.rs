//! CFMP's local platform: the whole serverless system on one machine, driven by `template.yaml`.

pub mod clock;
pub mod faults;
pub mod functions;
pub mod recording;
pub mod template;
