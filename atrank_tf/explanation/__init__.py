"""Explanation of scores: attention weights of the model, and the effect of leaving a behavior out."""

from atrank_tf.explanation.attention import Behavior, Explainer, Explanation
from atrank_tf.explanation.figures import (
    draw_figures,
    occlusion_figure,
    self_attention_figure,
    spaces_figure,
    target_attention_figure,
)
from atrank_tf.explanation.json_form import explanation_to_json
from atrank_tf.explanation.names import Names, Thing
from atrank_tf.explanation.occlusion import Occluder, Occlusion, attention_agreement, spearman
from atrank_tf.explanation.page import write_page
from atrank_tf.explanation.playground import playground_page, playground_titles
from atrank_tf.explanation.requests import Request, requests_of_users, sampled_requests
from atrank_tf.explanation.spaces import MEASURES, Focus, focus_table, measure_spaces
from atrank_tf.explanation.tensorboard import AttentionImages, write_projector

__all__ = [
    "MEASURES",
    "AttentionImages",
    "Behavior",
    "Explainer",
    "Explanation",
    "Focus",
    "Names",
    "Occluder",
    "Occlusion",
    "Request",
    "Thing",
    "attention_agreement",
    "draw_figures",
    "explanation_to_json",
    "focus_table",
    "measure_spaces",
    "occlusion_figure",
    "playground_page",
    "playground_titles",
    "requests_of_users",
    "sampled_requests",
    "self_attention_figure",
    "spaces_figure",
    "spearman",
    "target_attention_figure",
    "write_page",
    "write_projector",
]
