//! Each way a splice can go wrong has its story.
