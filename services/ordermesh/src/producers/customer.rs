//! `ordermesh customer`: who orders.

use clap::{Subcommand, ValueEnum};
use proto::customers::v1::{CreateCustomerRequest, CreateCustomerResponse, Customer, CustomerLevel};

use super::Write;
use super::client::{Client, Failure};
use super::money;
use super::output::{facts, short};

const CREATE: &str = "ordermesh.customers.v1.CustomerService/CreateCustomer";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Creates a customer.
    Create(Create),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// Key of the customer
    customer_id: String,
    /// First name
    #[arg(long, default_value = "", hide_default_value = true)]
    first_name: String,
    /// Last name
    #[arg(long, default_value = "", hide_default_value = true)]
    last_name: String,
    /// E-mail address
    #[arg(long, default_value = "", hide_default_value = true)]
    email: String,
    /// Telephone number
    #[arg(long, default_value = "", hide_default_value = true)]
    phone: String,
    /// Postal address
    #[arg(long, default_value = "", hide_default_value = true)]
    address: String,
    /// How valued the customer is
    #[arg(long, value_enum, default_value_t = Level::Bronze)]
    level: Level,
    /// What open orders may amount to, such as 500.00 [default: no limit]
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    credit_limit: Option<String>,
    /// Currency of the limit
    #[arg(long, default_value = "EUR")]
    currency: String,
    #[command(flatten)]
    write: Write,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Level {
    Bronze,
    Silver,
    Gold,
    Platinum,
}

impl From<Level> for CustomerLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Bronze => Self::Bronze,
            Level::Silver => Self::Silver,
            Level::Gold => Self::Gold,
            Level::Platinum => Self::Platinum,
        }
    }
}

pub(super) async fn run(client: &mut Client, command: Command) -> Result<(), Failure> {
    let Command::Create(create) = command;
    let limit = create.credit_limit.as_deref();
    let customer = Customer {
        customer_id: create.customer_id,
        first_name: create.first_name,
        last_name: create.last_name,
        email: create.email,
        phone: create.phone,
        address: create.address,
        level: CustomerLevel::from(create.level).into(),
        credit_limit: limit.map(|limit| money::parse(limit, &create.currency)).transpose()?,
        ..Default::default()
    };
    let request_id = create.write.request_id();
    let request = CreateCustomerRequest { customer: Some(customer), request_id: request_id.clone() };
    let answer: CreateCustomerResponse = client.write(CREATE, request_id, request).await?;
    client.print(CREATE, &answer, |answer| sheet(answer.customer.as_ref()));
    Ok(())
}

fn sheet(customer: Option<&Customer>) -> String {
    let Some(customer) = customer else { return String::new() };
    facts(
        &format!("customer {}", customer.customer_id),
        &[
            ("name", format!("{} {}", customer.first_name, customer.last_name).trim().to_owned()),
            ("email", customer.email.clone()),
            ("phone", customer.phone.clone()),
            ("address", customer.address.clone()),
            ("level", short(customer.level().as_str_name(), "CUSTOMER_LEVEL_").to_owned()),
            ("credit limit", money::text(customer.credit_limit.as_ref())),
            ("reserved", money::text(customer.credit_reserved.as_ref())),
            ("available", money::text(customer.credit_available.as_ref())),
            ("etag", customer.etag.clone()),
        ],
    )
}
