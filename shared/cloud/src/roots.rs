//! The roots of trust for AWS endpoints, built in: reading the system's trust store costs more than all other start-up
//! work of a function. Source: Amazon Trust Services, <https://www.amazontrust.com/repository/>.

/// Amazon Root CA 1 to 4 and Starfield Services Root G2, PEM.
pub const AMAZON: [&[u8]; 5] = [
    include_bytes!("../roots/amazon-root-ca-1.pem"),
    include_bytes!("../roots/amazon-root-ca-2.pem"),
    include_bytes!("../roots/amazon-root-ca-3.pem"),
    include_bytes!("../roots/amazon-root-ca-4.pem"),
    include_bytes!("../roots/starfield-services-root-g2.pem"),
];
