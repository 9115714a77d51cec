"""Run by Alembic with the connection that `tfaas.registry.database` hands over."""

from alembic import context

from tfaas.registry.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the caller's transaction spans the whole upgrade
)
context.run_migrations()
