// The score of a pair between the product and the mask, in the order of the definition.

import part::row_context;
import score::softcap;
import score::bias;
import score::alibi;
import score::t5;
import mask::mods;
import score::mods;

// The scores of an invocation's rows with the columns from `column` on.
fn shape_scores(scores: Scores, context: RowContext, column: u32) -> Scores {
    return modify_scores(add_biases(capped_scores(scores, context, column), context, column), context, column);
}

// The scores up to the softcap.
fn capped_scores(scores: Scores, context: RowContext, column: u32) -> Scores {
    @if(!bias_first) return cap_scores(scores);
    @if(bias_first) return cap_scores(add_bias(scores, context, column));
}

fn add_biases(scores: Scores, context: RowContext, column: u32) -> Scores {
    var s = scores;
    @if(bias) @if(!bias_first) s = add_bias(s, context, column);
    @if(alibi) s = add_alibi(s, context, column);
    @if(t5) s = add_t5(s, context, column);
    return s;
}
