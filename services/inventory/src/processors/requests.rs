//! Settles what orders asks for each line: reserve, release, ship. One verdict for each reserve, nothing for the others.

use task_runtime::{Context, Definition, Input, ProcessError};

use super::sweep::CLOSED_LINES;
use crate::stores::{LINES, STOCK, line_key};
use crate::{Config, domain, topics, wire};

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let kept_ms = i64::try_from(config.closed_lines_kept.as_millis()).unwrap_or(i64::MAX);
    definition.input(topics::STOCK_REQUESTS, move |ctx, input| process(ctx, input, kept_ms))
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>, kept_ms: i64) -> Result<(), ProcessError> {
    let Some(request) = wire::request(input.record.key.as_ref(), input.value()?)? else {
        tracing::warn!(topic = %input.topic, offset = %input.offset, "skipped a stock request of an unknown kind");
        return Ok(());
    };
    ctx.trace_field("order_id", &request.order_id);
    let product_key = request.product_id.as_bytes();
    let line_key = line_key(&request.order_id, request.line, &request.product_id);
    let stock = ctx.get(STOCK, product_key)?.map(|row| wire::stock(&row)).transpose()?;
    let line = ctx.get(LINES, &line_key)?.map(|row| wire::line(&row)).transpose()?;
    // The sweep that forgot a line is in stream time, whereas a replayed record has the time at which it was first sent.
    let age_ms = input.is_replay().then(|| ctx.stream_time_ms().saturating_sub(ctx.now_ms()));
    let line = domain::recall(line, age_ms, kept_ms);
    let decision = domain::settle(stock.as_ref(), line.as_ref(), request.action, request.quantity);
    if let Some(stock) = decision.stock {
        ctx.put(STOCK, product_key, wire::stock_row(&stock));
    }
    if let Some(line) = decision.line {
        ctx.put(LINES, &line_key, wire::line_row(&line, ctx.now_ms()));
        // With a product in this task the sweep is on already.
        if stock.is_none() {
            CLOSED_LINES.ensure(ctx)?;
        }
    }
    if let Some(verdict) = decision.verdict {
        let verdict = wire::verdict(&request, verdict, ctx.now_ms());
        ctx.emit(topics::INVENTORY_VERDICTS, request.order_id.as_bytes(), verdict)?;
    }
    Ok(())
}
