// The score of a pair between the product and the mask, in the order of the definition.

import part::place;
import score::softcap;
import score::bias;
import score::alibi;
import score::t5;

// The scores of the keys from j on; positions of keys are told by their indices where none are given.
fn shape_scores(scores: Scores, place: Place, j: u32) -> Scores {
    var s = scores;
    @if(softcap) s = cap_scores(s);
    @if(bias) s = add_bias(s, place, j);
    @if(alibi) s = add_alibi(s, place, j);
    @if(t5) s = add_t5(s, place, j);
    return s;
}
