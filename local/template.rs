//! The deployment that `template.yaml` describes.

pub mod model;
