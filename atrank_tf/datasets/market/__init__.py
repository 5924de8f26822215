"""A simulated market: users with drifting interests act on products, queries and coupons, and the truth is known.

It stands in for the private data of the ATRank paper: three groups of behaviors, three tasks, any number of users.
Nothing about a user is hidden: what somebody clicks depends on what they did before, and all of that is in the logs. So
the true click probabilities, which are written beside the logs, give the best that any model can reach.

User u, object o (a product, query or coupon) of category c(o) with taste vector v(o) of length 1 and attraction q(o),
moment t in days. Behaviors b of u before t, at t_b on o_b, in all groups:

    want(u, c)  = sum over b with c(o_b) = c of   w_b exp((t_b - t) / 4)
                  a purchase in c leaves a tenth of it, and adds 1 to each of the two complements of c
    taste(u)    = sum of g_b exp((t_b - t) / 45) v(o_b)   /   (3 + sum of g_b exp((t_b - t) / 45))
    again(u, o) = sum over b with o_b = o of   r_b exp((t_b - t) / 14)

    P(click) = sigmoid(A + q(o) + B want(u, c(o)) / (1 + want(u, c(o))) + C <taste(u), v(o)> + again(u, o))

w, g and r by action, A, B and C by kind of object: `atrank_tf.datasets.market.equations`. Each candidate of a request
is clicked or not by itself, given what was before the request.

A visit (`atrank_tf.datasets.market.visits`): half of them, and always the first, open with a behavior that nobody could
foresee, in any group: so interests drift. Then come requests of queries, coupons and products, each with its clicks.
What is wanted more is put into the cart more, what is in the cart may be purchased, rather so with a coupon of the
category at hand, which is then used.
"""

from atrank_tf.datasets.market.equations import MarketSettings
from atrank_tf.datasets.market.logs import write_market

__all__ = ["MarketSettings", "write_market"]
