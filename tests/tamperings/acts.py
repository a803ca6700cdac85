"""What operators did."""

from tamperings.acting import Tampering, act

ACTS = {
    "a hold of a held user, and a release of one who is not": Tampering(
        [act(101, "ann", "hold"), act(102, "ann", "hold"), act(103, "bob", "retry"), act(104, "bob", "release")],
        [
            "acts: act 102 is a hold of user ann, and the one before it: hold",
            "acts: act 104 is a release of user bob, and the one before it: none",
        ],
    ),
    "an operator's end of an enrolment that goes on, and of none": Tampering(
        [
            act(101, "bob", "deactivate", act_id="deactivate/enrolment of bob"),
            act(102, "bob", "deactivate", act_id="deactivate/another"),
        ],
        [
            "acts: act 101 of zoe, deactivate/enrolment of bob, names something that the ledger does not have",
            "acts: act 102 of zoe, deactivate/another, names something that the ledger does not have",
        ],
    ),
    "who ended an enrolment, without an act of it": Tampering(
        ["UPDATE enrolments SET end_operator = 'olga' WHERE enrolment_id = 'enrolment of ann'"],
        [
            (
                "acts: olga did deactivate/enrolment of ann, user ann, reason: asked to stop, text: none; its "
                "act says none, user none, reason: none, text: none"
            ),
        ],
    ),
    "who funded a pool, and that version 2 was applied": Tampering(
        [
            "UPDATE acts SET operator = 'olga' WHERE subject LIKE 'pool DOGE,%'",
            "UPDATE acts SET act_id = 'program_apply/7' WHERE act_id = 'program_apply/2'",
        ],
        [
            (
                "acts: tests did fund/{doge_funding}, user none, reason: none, text: none; its act says olga, "
                "user none, reason: none, text: none"
            ),
            (
                "acts: act {act_of_version_2} of tests, program_apply/7, names something that the ledger does not "
                "have"
            ),
        ],
    ),
}
