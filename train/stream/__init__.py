"""The data stream of the trainer: shards in, batches out; exactly resumable, for any number of ranks and workers."""
