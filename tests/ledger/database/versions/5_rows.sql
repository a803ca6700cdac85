-- From version 5 on an enrolment keeps who ended it.
UPDATE enrolments SET end_operator = 'ada' WHERE enrolment_id = 'enrolment of bob';
