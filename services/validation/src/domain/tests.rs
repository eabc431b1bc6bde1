//! The rules as tables, and the laws that hold for every order of arrival.

mod aggregation;
mod checks;
mod velocity;
