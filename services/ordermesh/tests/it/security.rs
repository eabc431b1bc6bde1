//! Who gets in where: instances over TLS and with a secret, and the real binary with certificates and tokens.

mod binary;
mod instances;
