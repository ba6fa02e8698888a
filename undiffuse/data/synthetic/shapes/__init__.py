"""Pictures of a few shapes, sentences about them, and a checker that says which facts of a sentence a picture shows."""
