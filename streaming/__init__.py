"""What speaks Kafka, so that nothing else has to know its client."""
