"""A simulated market of products, queries and coupons, with the true click probability of every candidate.

It stands in for the private data of the ATRank paper: three groups of behaviors, three tasks, any number of users.
Nothing about a user is hidden: what somebody clicks depends on what they did before, and all of that is in the logs. So
the true click probabilities, which are written beside the logs, give the best that any model can reach.

User u, time t in days, and object o (a product, query or coupon) of category c(o) with the unit vector v(o) and the
attraction q(o). Behaviors b of u before t, at time t_b on object o_b, in all groups:

    want(u, c)  = sum over b with c(o_b) = c of   w_b exp((t_b - t) / 4)
                  a purchase in c cuts it to a tenth, and adds 1 to that of each of the two complements of c
    taste(u)    = sum of g_b exp((t_b - t) / 45) v(o_b)   /   (3 + sum of g_b exp((t_b - t) / 45))
    again(u, o) = sum over b with o_b = o of   r_b exp((t_b - t) / 14)

    P(click) = sigmoid(A + q(o) + B want(u, c(o)) / (1 + want(u, c(o))) + C <taste(u), v(o)> + again(u, o))

w, g and r by action, A, B and C by kind of object: `atrank_tf.datasets.market.equations`. Given the behaviors before a
request, its candidates are clicked independently.

Visits (`atrank_tf.datasets.market.visits`): half of them, and always the first, open with a behavior in any group that
cannot be foreseen, so interests drift. Then come requests of queries, coupons and products, each with its clicks. The
more a product is wanted, the more likely it goes into the cart; what is in the cart may be purchased, more likely with
a coupon of its category, which is then used.
"""

from atrank_tf.datasets.market.equations import MarketSettings
from atrank_tf.datasets.market.logs import write_market

__all__ = ["MarketSettings", "write_market"]
