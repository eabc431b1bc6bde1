//! Lists: page after page until there is enough, joined into one answer.

use prost::Message;
use proto::catalog::v1::{ListBookCardsRequest, ListBookCardsResponse};
use proto::orders::v1::{ListOrdersRequest, ListOrdersResponse};

use super::client::{Client, Failure};
use super::output::note;

/// Most items of a page that a mesh gives.
const PAGE_ITEMS_MAX: usize = 1_000;

/// How much of a list is wanted.
#[derive(Debug, clap::Args)]
pub(crate) struct Pages {
    /// Most items to list; 0 lists all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

/// The request of a list.
pub(super) trait Listing: Message + Clone + 'static {
    /// What answers it.
    type Page: Joined;
    /// Asks for so many items behind a token.
    fn page(&self, size: i32, token: &str) -> Self;
}

/// The pages of a list so far.
pub(super) trait Joined: Message + Default + 'static {
    /// Items so far.
    fn items(&self) -> usize;
    /// Token of the page behind; empty at the end.
    fn next(&self) -> &str;
    /// Partitions that are missing.
    fn unreachable(&self) -> &[String];
    /// Adds the page behind.
    fn join(&mut self, page: Self);
}

macro_rules! listing {
    ($request:ty, $response:ty, $items:ident) => {
        impl Listing for $request {
            type Page = $response;

            fn page(&self, size: i32, token: &str) -> Self {
                Self { page_size: size, page_token: token.to_owned(), ..self.clone() }
            }
        }

        impl Joined for $response {
            fn items(&self) -> usize {
                self.$items.len()
            }

            fn next(&self) -> &str {
                &self.next_page_token
            }

            fn unreachable(&self) -> &[String] {
                &self.unreachable
            }

            fn join(&mut self, page: Self) {
                self.$items.extend(page.$items);
                self.next_page_token = page.next_page_token;
                self.unreachable.extend(page.unreachable);
                self.served_by.extend(page.served_by);
            }
        }
    };
}

listing!(ListOrdersRequest, ListOrdersResponse, orders);
listing!(ListBookCardsRequest, ListBookCardsResponse, book_cards);

/// Asks for pages until the list ends or is long enough.
///
/// # Errors
/// What the server refuses, or that it does not answer.
pub(super) async fn list<Q: Listing>(
    client: &mut Client,
    method: &'static str,
    request: &Q,
    pages: &Pages,
) -> Result<Q::Page, Failure> {
    let wanted = if pages.limit == 0 { usize::MAX } else { pages.limit };
    let mut joined = Q::Page::default();
    loop {
        let size = (wanted - joined.items()).min(PAGE_ITEMS_MAX);
        let page = request.page(i32::try_from(size).unwrap_or(i32::MAX), joined.next());
        joined.join(client.read(method, page).await?);
        if joined.next().is_empty() || joined.items() >= wanted {
            break;
        }
    }
    if !joined.unreachable().is_empty() {
        note(format_args!("ordermesh: the list is not complete, without {}", joined.unreachable().join(", ")));
    }
    Ok(joined)
}
